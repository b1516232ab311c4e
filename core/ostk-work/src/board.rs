//! The board: every needle, claim, straw and decision, folded from records.
//!
//! The methods are the steps of the fold: each takes what a record says and checks only that it fits what came before.
//! Who may do what, and when a lease ends, the kernel decides before it writes the record. Bounded: closed needles and
//! straws are forgotten from the oldest on; the log keeps them.

use std::collections::{BTreeMap, BTreeSet};

use ostk_log::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{AcResult, Closed, Needle, NeedleId, Priority, Status};

/// Needles that are not closed; whoever has more needs a tracker, not a board that every agent reads.
pub const MAX_OPEN: usize = 10_000;
/// Needles kept, closed ones included; the oldest closed ones are forgotten a quarter at a time.
const MAX_KEPT: usize = 40_000;
/// Straws kept; the oldest are forgotten first.
pub const MAX_HAY: usize = 10_000;

/// The work of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// The last number given to a needle.
    pub last: u64,
    /// The last record that changed anything here.
    pub changed: u64,
    /// The needles.
    pub needles: BTreeMap<NeedleId, Needle>,
    /// Who works on which.
    pub claims: BTreeMap<NeedleId, Claim>,
    /// Claims whose holder has ended, so that they are to be released.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub left: BTreeSet<NeedleId>,
    /// Thoughts that became no needle yet, by record.
    pub hay: BTreeMap<u64, Straw>,
    /// What was decided, by key; the latest word counts.
    pub decisions: BTreeMap<String, Decision>,
}

/// Somebody works on a needle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The lineage.
    pub holder: String,
    /// Since when.
    pub since: Timestamp,
    /// When the lease ends.
    pub until: Timestamp,
    /// How long a lease is when it is renewed.
    pub lease_ms: u64,
}

/// One captured thought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Straw {
    /// The thought.
    pub text: String,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When.
    pub at: Timestamp,
    /// By whom: an actor.
    pub by: String,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What was decided.
    pub value: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The record.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// By whom: an actor.
    pub by: String,
}

/// What changes about a needle; absent is as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How urgent it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// `open` or `shelved`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The commands that must pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ac: Option<Vec<String>>,
    /// What whoever takes it must know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeSet<String>>,
    /// Its milestone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milestone: Option<String>,
}

/// Edges of the graph: the first of each pair depends on the second, or both share a reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// Dependencies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<(NeedleId, NeedleId)>,
    /// Kinships.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<(NeedleId, NeedleId)>,
}

impl Links {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.depends_on.len() + self.related.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Board {
    /// Whether there never was any work, so that a state without it looks as it always did.
    pub fn is_empty(&self) -> bool {
        self.changed == 0
    }

    /// Needles that are not closed.
    pub fn open(&self) -> impl Iterator<Item = (NeedleId, &Needle)> {
        self.needles.iter().filter(|(_, needle)| needle.is_open()).map(|(id, needle)| (*id, needle))
    }

    /// Dependencies of a needle that are not closed; one that was forgotten is.
    pub fn open_dependencies<'a>(&'a self, needle: &'a Needle) -> impl Iterator<Item = NeedleId> + 'a {
        let open = |id: &NeedleId| self.needles.get(id).is_some_and(Needle::is_open);
        needle.depends_on.iter().copied().filter(open)
    }

    /// Whether a needle with this number was ever added.
    pub fn knows(&self, id: NeedleId) -> bool {
        (1..=self.last).contains(&id.number())
    }

    /// Adds a needle under the next number, with its dependencies on both ends; the straws it came from are used up.
    ///
    /// # Errors
    /// When the number is not the next one.
    pub fn add(&mut self, id: NeedleId, needle: Needle, hay: &[u64]) -> Result<(), String> {
        if id.number() != self.last + 1 {
            return Err(format!("{id} is added after {}", NeedleId::new(self.last)));
        }
        self.last = id.number();
        self.changed = needle.seq;
        let (needs, blocks) = (needle.depends_on.clone(), needle.blocks.clone());
        self.needles.insert(id, needle);
        for other in needs {
            self.tie((id, other), true);
        }
        for other in blocks {
            self.tie((other, id), true);
        }
        for straw in hay {
            self.hay.remove(straw);
        }
        Ok(())
    }

    /// Changes members of a needle that is not closed.
    ///
    /// # Errors
    /// When there is no such needle.
    pub fn change(&mut self, seq: u64, by: &str, id: NeedleId, change: Change) -> Result<(), String> {
        self.changed = seq;
        let needle = self.open_needle(id)?;
        let Change { title, priority, status, ac, description, tags, milestone } = change;
        if let Some(ac) = ac {
            // Another acceptance has another result.
            (needle.ac, needle.ac_by, needle.ac_result) = (ac, by.to_owned(), None);
        }
        needle.title = title.unwrap_or_else(|| std::mem::take(&mut needle.title));
        needle.priority = priority.unwrap_or(needle.priority);
        needle.status = status.unwrap_or(needle.status);
        needle.description = description.unwrap_or_else(|| std::mem::take(&mut needle.description));
        needle.tags = tags.unwrap_or_else(|| std::mem::take(&mut needle.tags));
        needle.milestone = milestone.or_else(|| needle.milestone.take());
        Ok(())
    }

    /// Ties or unties needles, on both ends.
    pub fn link(&mut self, seq: u64, links: &Links, tied: bool) {
        self.changed = seq;
        for pair in &links.depends_on {
            self.tie(*pair, tied);
        }
        for (one, other) in &links.related {
            for (end, far) in [(one, other), (other, one)] {
                if let Some(needle) = self.needles.get_mut(end) {
                    set(&mut needle.related, *far, tied);
                }
            }
        }
    }

    fn tie(&mut self, (waiting, needed): (NeedleId, NeedleId), tied: bool) {
        if let Some(needle) = self.needles.get_mut(&waiting) {
            set(&mut needle.depends_on, needed, tied);
        }
        if let Some(needle) = self.needles.get_mut(&needed) {
            set(&mut needle.blocks, waiting, tied);
        }
    }

    /// Somebody claims a needle, or renews the lease that he has.
    ///
    /// # Errors
    /// When there is no such needle, or another one holds it.
    pub fn claim(&mut self, seq: u64, id: NeedleId, claim: Claim) -> Result<(), String> {
        if let Some(held) = self.claims.get(&id).filter(|held| held.holder != claim.holder) {
            return Err(format!("{id} is claimed by {} while {} holds it", claim.holder, held.holder));
        }
        self.open_needle(id)?.status = Status::InProgress;
        self.changed = seq;
        let since = self.claims.get(&id).map_or(claim.since, |held| held.since);
        self.claims.insert(id, Claim { since, ..claim });
        self.left.remove(&id);
        Ok(())
    }

    /// A claim ends and the needle is open again.
    ///
    /// # Errors
    /// When nobody holds it.
    pub fn release(&mut self, seq: u64, id: NeedleId) -> Result<(), String> {
        self.claims.remove(&id).ok_or_else(|| format!("{id} is released and nobody held it"))?;
        self.left.remove(&id);
        self.changed = seq;
        self.open_needle(id)?.status = Status::Open;
        Ok(())
    }

    /// A lineage has ended: its claims are to be released.
    pub fn holder_ended(&mut self, lineage: &str) {
        let held = self.claims.iter().filter(|(_, claim)| claim.holder == lineage);
        self.left.extend(held.map(|(id, _)| *id));
    }

    /// The acceptance commands ran and the needle stays open.
    ///
    /// # Errors
    /// When there is no such needle.
    pub fn check(&mut self, seq: u64, id: NeedleId, result: AcResult) -> Result<(), String> {
        self.changed = seq;
        self.open_needle(id)?.ac_result = Some(result);
        Ok(())
    }

    /// A needle is done or given up: what only its worker needs is forgotten, and its claim with it.
    ///
    /// # Errors
    /// When there is no such needle, or it is closed.
    pub fn close(&mut self, id: NeedleId, closed: Closed, result: Option<AcResult>) -> Result<(), String> {
        self.changed = closed.seq;
        let needle = self.open_needle(id)?;
        needle.status = Status::Closed;
        needle.ac_result = result;
        needle.closed = Some(closed);
        (needle.ac, needle.description) = (Vec::new(), String::new());
        self.claims.remove(&id);
        self.left.remove(&id);
        self.forget_closed();
        Ok(())
    }

    /// A thought is filed.
    pub fn file(&mut self, seq: u64, straw: Straw) {
        self.changed = seq;
        self.hay.insert(seq, straw);
        if self.hay.len() > MAX_HAY {
            self.hay.pop_first();
        }
    }

    /// Something is decided; an earlier decision under this key no longer counts.
    pub fn decide(&mut self, key: String, decision: Decision) {
        self.changed = decision.seq;
        self.decisions.insert(key, decision);
    }

    fn open_needle(&mut self, id: NeedleId) -> Result<&mut Needle, String> {
        let needle = self.needles.get_mut(&id).filter(|needle| needle.is_open());
        needle.ok_or_else(|| format!("there is no open needle {id}"))
    }

    fn forget_closed(&mut self) {
        if self.needles.len() <= MAX_KEPT {
            return;
        }
        let mut surplus = self.needles.len() - MAX_KEPT / 4 * 3;
        self.needles.retain(|_, needle| {
            let goes = surplus > 0 && !needle.is_open();
            surplus -= usize::from(goes);
            !goes
        });
    }
}

fn set(ids: &mut BTreeSet<NeedleId>, id: NeedleId, there: bool) {
    if there {
        ids.insert(id);
    } else {
        ids.remove(&id);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn id(number: u64) -> NeedleId {
        NeedleId::new(number)
    }

    /// A needle that depends on these.
    pub(crate) fn needle(title: &str, priority: Priority, needs: &[u64]) -> Needle {
        Needle {
            title: title.to_owned(),
            status: Status::Open,
            priority,
            ac: vec!["true".to_owned()],
            ac_by: "human:ada".to_owned(),
            description: String::new(),
            tags: BTreeSet::new(),
            milestone: None,
            depends_on: needs.iter().map(|number| id(*number)).collect(),
            blocks: BTreeSet::new(),
            related: BTreeSet::new(),
            seq: 1,
            created_at: Timestamp::from_micros(0),
            created_by: "human:ada".to_owned(),
            ac_result: None,
            closed: None,
        }
    }

    /// A board of needles numbered from 1.
    pub(crate) fn board(needles: &[(&str, Priority, &[u64])]) -> Board {
        let mut board = Board::default();
        for (number, (title, priority, needs)) in (1..).zip(needles) {
            board.add(id(number), needle(title, *priority, needs), &[]).unwrap();
        }
        board
    }

    pub(crate) fn closed(seq: u64) -> Closed {
        let (at, by) = (Timestamp::from_micros(seq), "agent:w".to_owned());
        Closed { at, seq, by, reason: None, commit_ref: None, forced: false }
    }

    fn claim(holder: &str, until: u64) -> Claim {
        let (since, until) = (Timestamp::from_micros(until - 1), Timestamp::from_micros(until));
        Claim { holder: holder.to_owned(), since, until, lease_ms: 1 }
    }

    #[test]
    fn numbers_are_given_in_order_and_never_twice() {
        let mut board = board(&[("one", Priority::P1, &[])]);
        assert!(board.add(id(1), needle("again", Priority::P1, &[]), &[]).is_err());
        assert!(board.add(id(3), needle("too far", Priority::P1, &[]), &[]).is_err());
        assert_eq!(board.last, 1);
    }

    #[test]
    fn a_dependency_stands_on_both_ends_and_is_taken_off_both() {
        let mut board = board(&[("one", Priority::P1, &[]), ("two", Priority::P1, &[1])]);
        assert_eq!(board.needles[&id(1)].blocks, [id(2)].into());
        let links = Links { depends_on: vec![(id(2), id(1))], related: vec![(id(1), id(2))] };
        board.link(9, &links, false);
        assert!(board.needles.values().all(|needle| needle.joints().next().is_none()));
        board.link(9, &links, true);
        assert_eq!(board.needles[&id(2)].related, [id(1)].into());
    }

    #[test]
    fn one_holder_at_a_time_and_a_renewal_keeps_the_beginning() {
        let mut board = board(&[("one", Priority::P1, &[])]);
        board.claim(2, id(1), claim("w", 10)).unwrap();
        assert!(board.claim(3, id(1), claim("v", 20)).unwrap_err().contains("w holds it"));
        board.claim(4, id(1), claim("w", 30)).unwrap();
        let held = &board.claims[&id(1)];
        assert_eq!((held.since.as_micros(), held.until.as_micros()), (9, 30));
        board.release(5, id(1)).unwrap();
        assert_eq!(board.needles[&id(1)].status, Status::Open);
        assert!(board.release(6, id(1)).is_err());
    }

    #[test]
    fn claims_of_a_holder_who_ended_are_marked_until_they_are_released() {
        let mut board = board(&[("one", Priority::P1, &[]), ("two", Priority::P1, &[])]);
        board.claim(2, id(1), claim("w", 10)).unwrap();
        board.claim(3, id(2), claim("v", 10)).unwrap();
        board.holder_ended("w");
        assert_eq!(board.left, [id(1)].into());
        board.release(4, id(1)).unwrap();
        assert!(board.left.is_empty());
    }

    #[test]
    fn what_is_closed_keeps_what_lists_and_the_graph_need_and_blocks_nothing() {
        let mut board = board(&[("one", Priority::P1, &[]), ("two", Priority::P1, &[1])]);
        board.claim(2, id(1), claim("w", 10)).unwrap();
        board.close(id(1), closed(3), Some(AcResult::Pass)).unwrap();
        let done = &board.needles[&id(1)];
        assert!(done.ac.is_empty() && done.title == "one" && done.blocks == [id(2)].into());
        assert!(board.claims.is_empty());
        assert_eq!(board.open_dependencies(&board.needles[&id(2)]).count(), 0);
        assert!(board.close(id(1), closed(4), None).is_err(), "once");
        assert!(board.change(5, "human:ada", id(1), Change::default()).is_err());
    }

    #[test]
    fn the_oldest_closed_needles_and_straws_are_forgotten_and_open_ones_never() {
        let mut board = Board::default();
        for number in 1..=MAX_KEPT as u64 + 1 {
            board.add(id(number), needle("n", Priority::P2, &[]), &[]).unwrap();
            if number != 2 {
                board.close(id(number), closed(number), None).unwrap();
            }
        }
        assert_eq!(board.needles.len(), MAX_KEPT / 4 * 3);
        assert!(board.needles.contains_key(&id(2)) && !board.needles.contains_key(&id(1)));
        assert!(board.knows(id(1)) && !board.knows(id(MAX_KEPT as u64 + 2)));
        for seq in 0..=MAX_HAY as u64 {
            let (text, by) = ("t".to_owned(), "human:ada".to_owned());
            board.file(seq, Straw { text, source: None, at: Timestamp::default(), by });
        }
        assert_eq!((board.hay.len(), board.hay.keys().next()), (MAX_HAY, Some(&1)));
    }
}
