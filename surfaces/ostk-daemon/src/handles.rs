//! Handles on what runs, and the ends that were asked for before there was anything to end.
//!
//! An operation can wait for its record to be durable, for a thread or for a scan, and be ended meanwhile. Whoever starts
//! something (`processes.rs`) asks here whether it may still, once before and once when it hands the handle in. Nothing
//! is started or ended here.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Ends remembered for what has not begun; beyond this the oldest is forgotten. An end that comes after something ended by
/// itself stays until then, so there must be room for many of these beside all that can wait to be started.
const MAX_EARLY: usize = 4096;

/// What runs, by its name.
pub(crate) struct Handles<K, T> {
    live: BTreeMap<K, Arc<T>>,
    /// Names that were ended while nothing ran under them, oldest first.
    early: VecDeque<K>,
    /// Nothing begins any more.
    closed: bool,
}

impl<K, T> Default for Handles<K, T> {
    fn default() -> Self {
        Self { live: BTreeMap::new(), early: VecDeque::new(), closed: false }
    }
}

impl<K: Clone + Ord, T> Handles<K, T> {
    /// Whether the end of this was asked for before it began. The answer is given once: the next of the same name begins.
    pub(crate) fn was_ended(&mut self, name: &K) -> bool {
        let before = self.early.len();
        self.early.retain(|ended| ended != name);
        self.closed || self.early.len() < before
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn insert(&mut self, name: K, handle: Arc<T>) {
        self.live.insert(name, handle);
    }

    pub(crate) fn get(&self, name: &K) -> Option<Arc<T>> {
        self.live.get(name).cloned()
    }

    pub(crate) fn remove(&mut self, name: &K) {
        self.live.remove(name);
    }

    /// Takes out what has ended, with what `ended` says of it.
    pub(crate) fn take_ended<E>(&mut self, ended: impl Fn(&T) -> Option<E>) -> Vec<(K, E)> {
        let found: Vec<_> =
            self.live.iter().filter_map(|(name, handle)| Some((name.clone(), ended(handle)?))).collect();
        self.live.retain(|name, _| !found.iter().any(|(ended, _)| ended == name));
        found
    }

    /// What runs under a name, to be ended; if nothing does, what is about to begin under it will not.
    pub(crate) fn end(&mut self, name: &K) -> Option<Arc<T>> {
        let found = self.get(name);
        if found.is_none() && !self.early.contains(name) {
            self.early.push_back(name.clone());
            if self.early.len() > MAX_EARLY {
                self.early.pop_front();
            }
        }
        found
    }

    /// All that runs, to be ended; nothing begins any more.
    pub(crate) fn close(&mut self) -> Vec<Arc<T>> {
        self.closed = true;
        self.live.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_before_the_beginning_holds_once() {
        let mut handles = Handles::<u64, ()>::default();
        assert!(!handles.was_ended(&1));
        assert!(handles.end(&1).is_none() && handles.end(&1).is_none());
        assert!(!handles.was_ended(&2));
        assert!(handles.was_ended(&1));
        assert!(!handles.was_ended(&1));
    }

    #[test]
    fn an_end_of_what_runs_is_not_remembered() {
        let mut handles = Handles::default();
        handles.insert(1, Arc::new("one"));
        assert_eq!(handles.end(&1).as_deref(), Some(&"one"));
        assert!(!handles.was_ended(&1));
    }

    #[test]
    fn the_ends_that_are_remembered_are_bounded() {
        let mut handles = Handles::<usize, ()>::default();
        for name in 0..=MAX_EARLY {
            handles.end(&name);
        }
        assert!(!handles.was_ended(&0));
        assert!(handles.was_ended(&1) && handles.was_ended(&MAX_EARLY));
    }

    #[test]
    fn nothing_begins_after_the_close() {
        let mut handles = Handles::default();
        handles.insert(1, Arc::new(()));
        assert_eq!(handles.close().len(), 1);
        assert!(handles.was_ended(&2) && handles.was_ended(&2));
    }
}
