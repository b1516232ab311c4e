//! What can be done now, and what frees most: readiness, the ranking `compounds`, and circles of dependencies.
//!
//! Only needles that are not closed count. A circle cannot be made by a call, but a log may hold one: nothing here runs
//! round it, and nothing in it is ready.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{Board, Needle, NeedleId, Priority, Status};

/// A needle and how much waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compound {
    /// The needle.
    pub id: NeedleId,
    /// What is to be done.
    pub title: String,
    /// How urgent it is.
    pub priority: Priority,
    /// Open needles that wait for it.
    pub direct: u64,
    /// Open needles that wait for it or for what waits for it.
    pub transitive: u64,
    /// `transitive` times the weight of its priority.
    pub score: u64,
}

/// The needles that free others, those first that free most: by score, then fan-out, then number.
pub fn compounds(board: &Board, limit: usize) -> Vec<Compound> {
    let mut ranked: Vec<Compound> = board
        .open()
        .map(|(id, needle)| compound(board, id, needle))
        .filter(|found| found.score > 0)
        .collect();
    ranked.sort_by_key(|found| (std::cmp::Reverse((found.score, found.transitive)), found.id));
    ranked.truncate(limit);
    ranked
}

fn compound(board: &Board, id: NeedleId, needle: &Needle) -> Compound {
    let waits = |id: &&NeedleId| board.needles.get(*id).is_some_and(Needle::is_open);
    let transitive = freed(board, id).len() as u64;
    Compound {
        id,
        title: needle.title.clone(),
        priority: needle.priority,
        direct: needle.blocks.iter().filter(waits).count() as u64,
        transitive,
        score: transitive * needle.priority.weight(),
    }
}

/// Open needles that wait for this one, through others too; never itself.
fn freed(board: &Board, from: NeedleId) -> BTreeSet<NeedleId> {
    let mut seen = reached(board, from, |needle| &needle.blocks);
    seen.remove(&from);
    seen
}

/// Open needles that are reached over these edges; `from` itself only by a circle.
fn reached(
    board: &Board,
    from: NeedleId,
    edges: impl Fn(&Needle) -> &BTreeSet<NeedleId>,
) -> BTreeSet<NeedleId> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(id) = open.pop() {
        let Some(needle) = board.needles.get(&id).filter(|needle| needle.is_open()) else { continue };
        let next = edges(needle).iter().filter(|id| board.needles.get(id).is_some_and(Needle::is_open));
        open.extend(next.copied().filter(|id| seen.insert(*id)));
    }
    seen
}

/// Whether `waiting` could never become ready if it depended on `needed`.
pub fn closes_a_circle(board: &Board, waiting: NeedleId, needed: NeedleId) -> bool {
    waiting == needed || reached(board, needed, |needle| &needle.depends_on).contains(&waiting)
}

/// The needles that `fits` and that can be begun now, the best first: by priority, by what they free, by number. At most
/// `limit`, and how many there are.
pub fn ready(
    board: &Board,
    limit: usize,
    fits: impl Fn(NeedleId, &Needle) -> bool,
) -> (Vec<NeedleId>, usize) {
    let is_ready =
        |needle: &Needle| needle.status == Status::Open && board.open_dependencies(needle).next().is_none();
    let found = board.open().filter(|(id, needle)| is_ready(needle) && fits(*id, needle));
    let mut found: Vec<(Priority, NeedleId)> = found.map(|(id, needle)| (needle.priority, id)).collect();
    found.sort_unstable();
    let count = found.len();
    // Only those that can be among the first are ranked by what they free: that is a walk over the graph for each.
    let last = found.get(limit.saturating_sub(1)).map(|(priority, _)| *priority);
    found.retain(|(priority, _)| last.is_none_or(|last| *priority <= last));
    let mut ranked: Vec<_> = found
        .into_iter()
        .map(|(priority, id)| {
            let score = freed(board, id).len() as u64 * priority.weight();
            (priority, std::cmp::Reverse(score), id)
        })
        .collect();
    ranked.sort_unstable();
    (ranked.into_iter().take(limit).map(|(.., id)| id).collect(), count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Priority::{P0, P1, P2, P3};
    use crate::board::{
        Claim, Links,
        tests::{board, closed, id},
    };

    fn numbers(found: &[Compound]) -> Vec<(u64, u64, u64, u64)> {
        found.iter().map(|c| (c.id.number(), c.direct, c.transitive, c.score)).collect()
    }

    #[test]
    fn what_frees_most_comes_first_weighed_by_its_priority() {
        // 1 frees 2, 3 and 4; 5 (P0) frees 6 and 7; 8 frees nothing.
        let board = board(&[
            ("a", P2, &[]),
            ("b", P2, &[1]),
            ("c", P2, &[2]),
            ("d", P2, &[2]),
            ("e", P0, &[]),
            ("f", P2, &[5]),
            ("g", P2, &[6]),
            ("h", P0, &[]),
        ]);
        let ranked = numbers(&compounds(&board, 10));
        assert_eq!(ranked, [(5, 1, 2, 6), (1, 1, 3, 3), (2, 2, 2, 2), (6, 1, 1, 1)]);
        assert_eq!(compounds(&board, 1).len(), 1);
    }

    #[test]
    fn equal_scores_go_by_fan_out_and_then_by_number() {
        // 1 (P0) frees one, 2 (P3) frees three, 6 (P3) frees three: all score 3.
        let board = board(&[
            ("a", P0, &[]),
            ("b", P3, &[]),
            ("c", P3, &[2]),
            ("d", P3, &[2]),
            ("e", P3, &[2]),
            ("f", P3, &[]),
            ("g", P3, &[6]),
            ("h", P3, &[6]),
            ("i", P3, &[6]),
            ("j", P3, &[1]),
        ]);
        let order: Vec<u64> = compounds(&board, 3).iter().map(|c| c.id.number()).collect();
        assert_eq!(order, [2, 6, 1]);
    }

    #[test]
    fn a_circle_hangs_nothing_and_is_seen_before_it_is_closed() {
        let mut board = board(&[("a", P1, &[]), ("b", P1, &[1]), ("c", P1, &[2]), ("d", P1, &[])]);
        assert!(closes_a_circle(&board, id(1), id(3)) && closes_a_circle(&board, id(4), id(4)));
        assert!(!closes_a_circle(&board, id(4), id(3)));
        board.link(2, &Links { depends_on: vec![(id(1), id(3))], related: vec![] }, true);
        assert_eq!(numbers(&compounds(&board, 10)), [(1, 1, 2, 4), (2, 1, 2, 4), (3, 1, 2, 4)]);
        assert_eq!(ready(&board, 9, |_, _| true), (vec![id(4)], 1), "nothing in it is ready");
    }

    #[test]
    fn ready_is_what_is_open_unclaimed_and_waits_for_nothing_best_first() {
        let mut board = board(&[
            ("a", P2, &[]),
            ("b", P1, &[1]),
            ("c", P1, &[]),
            ("d", P1, &[]),
            ("e", P2, &[4]),
            ("f", P3, &[]),
        ]);
        let found =
            |board: &Board| ready(board, 9, |_, _| true).0.iter().map(|id| id.number()).collect::<Vec<_>>();
        assert_eq!(found(&board), [4, 3, 1, 6], "4 frees one more than 3");
        assert_eq!(ready(&board, 1, |_, _| true), (vec![id(4)], 4));
        let now = ostk_log::Timestamp::from_micros(1);
        let claim = Claim { holder: "w".to_owned(), since: now, until: now, lease_ms: 1 };
        board.claim(2, id(4), claim).unwrap();
        board.close(id(1), closed(3), None).unwrap();
        assert_eq!(found(&board), [2, 3, 6]);
        assert_eq!(ready(&board, 9, |_, needle| needle.priority == P3), (vec![id(6)], 1));
    }

    proptest! {
        /// Any edges at all, circles among them: every walk ends, and the ranking is the same whatever the order.
        #[test]
        fn any_graph_is_ranked(edges in proptest::collection::vec((1u64..20, 1u64..20), 0..80)) {
            let rows: Vec<_> = (0..19).map(|_| ("n", P1, &[] as &[u64])).collect();
            let (mut one, mut other) = (board(&rows), board(&rows));
            let pairs: Vec<_> = edges.iter().map(|(a, b)| (id(*a), id(*b))).collect();
            one.link(2, &Links { depends_on: pairs.clone(), related: vec![] }, true);
            other.link(2, &Links { depends_on: pairs.into_iter().rev().collect(), related: vec![] }, true);
            prop_assert_eq!(compounds(&one, 20), compounds(&other, 20));
            for (waiting, needed) in edges {
                prop_assert!(closes_a_circle(&one, id(needed), id(waiting)), "it would go there and back");
            }
        }
    }
}
