//! Queues per path: jobs on one path run one after the other, jobs on different paths do not wait for each other.
//!
//! A job enters all its queues at once and runs when it heads them all. Because entering is atomic, two jobs always
//! meet in the same order in every queue that they share, so they cannot wait for each other in a circle.

use std::collections::{BTreeMap, VecDeque};

/// Names a job inside the kernel.
pub(crate) type JobId = u64;

/// The queues of all paths that have one.
#[derive(Debug, Default)]
pub(crate) struct PathQueues {
    queues: BTreeMap<String, VecDeque<JobId>>,
}

impl PathQueues {
    /// Enters `job` on every path; true if it may run at once.
    pub(crate) fn enter(&mut self, job: JobId, paths: &[String]) -> bool {
        for path in paths {
            let queue = self.queues.entry(path.clone()).or_default();
            if queue.back() != Some(&job) {
                queue.push_back(job);
            }
        }
        self.ready(job, paths)
    }

    /// Paths that have a queue.
    pub(crate) fn len(&self) -> usize {
        self.queues.len()
    }

    /// Whether `job` heads all its queues.
    pub(crate) fn ready(&self, job: JobId, paths: &[String]) -> bool {
        paths.iter().all(|path| self.queues.get(path).and_then(VecDeque::front) == Some(&job))
    }

    /// Takes `job` out of its queues; returns the jobs that now head one of them.
    pub(crate) fn leave(&mut self, job: JobId, paths: &[String]) -> Vec<JobId> {
        let mut heads = Vec::new();
        for path in paths {
            let Some(queue) = self.queues.get_mut(path) else { continue };
            let was_head = queue.front() == Some(&job);
            queue.retain(|waiting| *waiting != job);
            match queue.front() {
                Some(next) if was_head => heads.push(*next),
                Some(_) => {}
                None => {
                    self.queues.remove(path);
                }
            }
        }
        heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn jobs_on_one_path_run_in_order_and_others_do_not_wait() {
        let mut queues = PathQueues::default();
        assert!(queues.enter(1, &paths(&["a", "b"])));
        assert!(!queues.enter(2, &paths(&["b", "c"])));
        assert!(queues.enter(3, &paths(&["d"])));
        assert!(!queues.enter(4, &paths(&["c"])), "4 waits for 2, which came to c first");
        assert_eq!(queues.leave(1, &paths(&["a", "b"])), vec![2]);
        assert!(queues.ready(2, &paths(&["b", "c"])));
        assert_eq!(queues.leave(2, &paths(&["b", "c"])), vec![4]);
        assert!(queues.leave(4, &paths(&["c"])).is_empty());
        assert_eq!(queues.queues.len(), 1);
    }
}
