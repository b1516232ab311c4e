//! Compile: from thoughts and titles to structure, by rule and without a model.
//!
//! Hay is grouped into clusters by the concepts that it speaks of; needles are tied by what their titles say and by
//! what they both refer to; what hangs together is a sphere. The result depends on the board alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    Board, Links, Mention, Needle, NeedleId, Tack, closes_a_circle, mentions, references, terms::terms,
};

/// A reference that more needles share says nothing about any two of them.
const MAX_SHARED: usize = 8;
/// Concepts of a cluster and of a sphere that must be the same, in percent of all of both, for them to match.
const MATCH_PCT: usize = 20;

/// What compiling found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compiled {
    /// Groups of straws, the largest first.
    pub clusters: Vec<Cluster>,
    /// Edges that the board does not have yet.
    pub edges: Links,
    /// Edges that it has already.
    pub existing: usize,
    /// Dependencies that a title asks for and that would close a circle.
    pub circles: Vec<(NeedleId, NeedleId)>,
    /// What hangs together, with the new edges; the largest first.
    pub spheres: Vec<Sphere>,
    /// Straws that are more than prose.
    pub candidates: Vec<Candidate>,
}

/// Straws about the same concepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its commonest concept.
    pub label: &'static str,
    /// The straws, by record.
    pub straws: Vec<u64>,
    /// Its concepts.
    pub terms: BTreeSet<&'static str>,
    /// The point of the sphere that is about the same, if one is.
    pub sphere: Option<NeedleId>,
}

/// Needles that hang together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sphere {
    /// The needle with most joints; the smallest number of several.
    pub point: NeedleId,
    /// How many joints it has.
    pub degree: usize,
    /// The most steps from it to any other.
    pub radius: usize,
    /// All of them.
    pub needles: BTreeSet<NeedleId>,
}

/// A straw that reads as tack: it means something to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The straw, by record.
    pub straw: u64,
    /// Its text.
    pub text: String,
    /// `chain`, `query`, `needle` or `escalate`.
    pub form: &'static str,
}

/// Compiles a board; changes nothing.
pub fn compile(board: &Board) -> Compiled {
    let (edges, existing, circles) = edges(board);
    let mut tied = board.clone();
    tied.link(board.changed, &edges, true);
    let spheres = spheres(&tied);
    let clusters = clusters(&tied, &spheres);
    Compiled { clusters, edges, existing, circles, spheres, candidates: candidates(board) }
}

type Pair = (NeedleId, NeedleId);

/// New edges, how many are there already, and dependencies that would close a circle.
fn edges(board: &Board) -> (Links, usize, Vec<Pair>) {
    let (mut needs, mut kin) = (BTreeSet::new(), BTreeSet::new());
    for (id, needle) in board.open() {
        for mention in mentions(&needle.title) {
            match mention {
                Mention::DependsOn(other) => needs.insert((id, other)),
                Mention::Blocks(other) => needs.insert((other, id)),
                Mention::Names(other) => kin.insert(ordered(id, other)),
            };
        }
        let named = mentions(&needle.description);
        kin.extend(named.into_iter().map(|mention| match mention {
            Mention::DependsOn(other) | Mention::Blocks(other) | Mention::Names(other) => ordered(id, other),
        }));
    }
    kin.extend(shared(board));
    let open = |id: &NeedleId| board.needles.get(id).is_some_and(Needle::is_open);
    let good = |(one, other): &Pair| one != other && open(one) && open(other);
    let has = |id: &NeedleId, of: fn(&Needle) -> &BTreeSet<NeedleId>, other: &NeedleId| {
        board.needles.get(id).is_some_and(|needle| of(needle).contains(other))
    };
    let (old_needs, needs): (Vec<Pair>, Vec<Pair>) = needs
        .into_iter()
        .filter(good)
        .partition(|(waiting, needed)| has(waiting, |needle| &needle.depends_on, needed));
    let (old_kin, kin): (Vec<Pair>, Vec<Pair>) =
        kin.into_iter().filter(good).partition(|(one, other)| has(one, |needle| &needle.related, other));
    let existing = old_needs.len() + old_kin.len();
    let (mut growing, mut depends_on, mut circles) = (board.clone(), Vec::new(), Vec::new());
    for pair in needs {
        if closes_a_circle(&growing, pair.0, pair.1) {
            circles.push(pair);
        } else {
            growing.link(board.changed, &Links { depends_on: vec![pair], related: Vec::new() }, true);
            depends_on.push(pair);
        }
    }
    // A dependency says more than a kinship.
    let tied = |(one, other): &Pair| {
        has_dependency(&growing, *one, *other) || has_dependency(&growing, *other, *one)
    };
    let related = kin.into_iter().filter(|pair| !tied(pair)).collect();
    (Links { depends_on, related }, existing, circles)
}

fn has_dependency(board: &Board, waiting: NeedleId, needed: NeedleId) -> bool {
    board.needles.get(&waiting).is_some_and(|needle| needle.depends_on.contains(&needed))
}

fn ordered(one: NeedleId, other: NeedleId) -> Pair {
    (one.min(other), one.max(other))
}

/// Pairs of open needles that refer to the same thing.
fn shared(board: &Board) -> BTreeSet<Pair> {
    let mut by_reference: BTreeMap<String, BTreeSet<NeedleId>> = BTreeMap::new();
    for (id, needle) in board.open() {
        let named = references(&needle.title).into_iter().chain(references(&needle.description));
        for reference in named {
            by_reference.entry(reference).or_default().insert(id);
        }
    }
    let telling = by_reference.into_values().filter(|ids| ids.len() <= MAX_SHARED);
    let pairs = telling.flat_map(|ids| {
        let ids: Vec<NeedleId> = ids.into_iter().collect();
        let pair = |at: usize, one: NeedleId| {
            ids.iter().skip(at + 1).map(move |other| (one, *other)).collect::<Vec<_>>()
        };
        ids.iter().enumerate().flat_map(|(at, one)| pair(at, *one)).collect::<Vec<_>>()
    });
    pairs.collect()
}

/// What hangs together among the open needles; a needle alone is no sphere.
fn spheres(board: &Board) -> Vec<Sphere> {
    let joints = |id: NeedleId| {
        let needle = board.needles.get(&id);
        let all = needle.into_iter().flat_map(Needle::joints);
        all.filter(|id| board.needles.get(id).is_some_and(Needle::is_open)).collect::<BTreeSet<_>>()
    };
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for (id, _) in board.open() {
        if !seen.insert(id) {
            continue;
        }
        let (mut needles, mut open) = (BTreeSet::from([id]), vec![id]);
        while let Some(id) = open.pop() {
            open.extend(joints(id).into_iter().filter(|other| needles.insert(*other)));
        }
        seen.extend(&needles);
        if needles.len() > 1 {
            found.push(sphere(needles, joints));
        }
    }
    found.sort_by_key(|sphere| (std::cmp::Reverse(sphere.needles.len()), sphere.point));
    found
}

fn sphere(needles: BTreeSet<NeedleId>, joints: impl Fn(NeedleId) -> BTreeSet<NeedleId>) -> Sphere {
    let degrees = needles.iter().map(|id| (std::cmp::Reverse(joints(*id).len()), *id));
    let (degree, point) = degrees.min().map_or((0, NeedleId::new(0)), |(degree, id)| (degree.0, id));
    let (mut seen, mut ring, mut radius) = (BTreeSet::from([point]), vec![point], 0);
    loop {
        let next: Vec<NeedleId> =
            ring.iter().flat_map(|id| joints(*id)).filter(|id| seen.insert(*id)).collect();
        if next.is_empty() {
            return Sphere { point, degree, radius, needles };
        }
        (ring, radius) = (next, radius + 1);
    }
}

/// Straws whose concepts are joined by any straw; the largest group first.
fn clusters(board: &Board, spheres: &[Sphere]) -> Vec<Cluster> {
    let straws: Vec<(u64, BTreeSet<&'static str>)> =
        board.hay.iter().map(|(seq, straw)| (*seq, terms(&straw.text))).collect();
    let mut union = Union::default();
    for (_, terms) in &straws {
        let mut terms = terms.iter();
        if let Some(first) = terms.next() {
            terms.for_each(|term| union.join(first, term));
        }
    }
    let mut groups: BTreeMap<&'static str, Vec<(u64, BTreeSet<&'static str>)>> = BTreeMap::new();
    for (seq, terms) in straws {
        if let Some(first) = terms.first() {
            groups.entry(union.root(first)).or_default().push((seq, terms));
        }
    }
    let about: Vec<(NeedleId, BTreeSet<&'static str>)> = spheres
        .iter()
        .map(|sphere| {
            let needles = sphere.needles.iter().filter_map(|id| board.needles.get(id));
            (sphere.point, needles.flat_map(|needle| terms(&needle.title)).collect())
        })
        .collect();
    let mut found: Vec<Cluster> = groups.into_values().map(|group| cluster(group, &about)).collect();
    found.sort_by_key(|cluster| (std::cmp::Reverse(cluster.straws.len()), cluster.label));
    found
}

fn cluster(
    group: Vec<(u64, BTreeSet<&'static str>)>,
    spheres: &[(NeedleId, BTreeSet<&'static str>)],
) -> Cluster {
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for term in group.iter().flat_map(|(_, terms)| terms) {
        *counts.entry(term).or_default() += 1;
    }
    let commonest = counts.iter().max_by_key(|(term, count)| (**count, std::cmp::Reverse(**term)));
    let label = commonest.map_or("", |(term, _)| *term);
    let terms: BTreeSet<&'static str> = counts.into_keys().collect();
    let likeness = |other: &BTreeSet<&'static str>| {
        let all = terms.union(other).count().max(1);
        terms.intersection(other).count() * 100 / all
    };
    let matching = spheres.iter().map(|(point, other)| (likeness(other), std::cmp::Reverse(*point)));
    let best = matching.max().filter(|(likeness, _)| *likeness >= MATCH_PCT);
    let straws = group.into_iter().map(|(seq, _)| seq).collect();
    Cluster { label, straws, terms, sphere: best.map(|(_, point)| point.0) }
}

fn candidates(board: &Board) -> Vec<Candidate> {
    let found = board.hay.iter().filter_map(|(seq, straw)| {
        let form = Tack::parse(&straw.text).form();
        (form != "hay").then(|| Candidate { straw: *seq, text: straw.text.clone(), form })
    });
    found.collect()
}

/// Disjoint sets of concepts; the alphabetically first of a set stands for it.
#[derive(Default)]
struct Union(BTreeMap<&'static str, &'static str>);

impl Union {
    fn root(&self, term: &'static str) -> &'static str {
        let mut at = term;
        // A parent is always alphabetically before its child, so this ends.
        while let Some(parent) = self.0.get(at) {
            at = parent;
        }
        at
    }

    fn join(&mut self, one: &'static str, other: &'static str) {
        let (one, other) = (self.root(one), self.root(other));
        if one != other {
            self.0.insert(one.max(other), one.min(other));
        }
    }
}

#[cfg(test)]
mod tests {
    use ostk_log::Timestamp;

    use super::*;
    use crate::{
        Priority::P1,
        Straw,
        board::tests::{board, closed, id},
    };

    fn with_hay(mut board: Board, straws: &[&str]) -> Board {
        for (seq, text) in (100..).zip(straws) {
            let (at, by) = (Timestamp::from_micros(seq), "human:ada".to_owned());
            board.file(seq, Straw { text: (*text).to_owned(), source: None, at, by });
        }
        board
    }

    #[test]
    fn thoughts_are_grouped_by_what_they_are_about_and_named_after_the_commonest() {
        let board = with_hay(
            Board::default(),
            &[
                "retry flaky upload",
                "uploads need a timeout",
                "the docs lack a guide",
                "upload of large ones fails",
                "what a nice day",
            ],
        );
        let clusters = compile(&board).clusters;
        let shown: Vec<(&str, &[u64])> = clusters.iter().map(|c| (c.label, c.straws.as_slice())).collect();
        assert_eq!(shown, [("upload", &[100, 101, 103][..]), ("docs", &[102][..])]);
    }

    #[test]
    fn titles_tie_needles_and_so_does_what_they_both_name() {
        let board = board(&[
            ("Split net.rs", P1, &[]),
            ("Test net.rs, depends on →1", P1, &[]),
            ("Document it, see →2", P1, &[]),
            ("Ship, blocked by ->2", P1, &[]),
            ("Measure net.rs", P1, &[]),
            ("Requires →99, →5 and →3", P1, &[]),
        ]);
        let Compiled { edges, existing, circles, spheres, .. } = compile(&board);
        assert_eq!(edges.depends_on, [(id(2), id(1)), (id(4), id(2)), (id(6), id(3)), (id(6), id(5))]);
        assert_eq!(
            edges.related,
            [(id(1), id(5)), (id(2), id(3)), (id(2), id(5))],
            "1 and 2 are tied already"
        );
        assert_eq!((existing, circles.len(), spheres.len()), (0, 0, 1));
        let sphere = &spheres[0];
        assert_eq!((sphere.point, sphere.degree, sphere.radius), (id(2), 4, 2));
        let mut tied = board;
        tied.link(9, &edges, true);
        let again = compile(&tied);
        assert!(again.edges.is_empty() && again.existing == 7, "{again:?}");
        assert_eq!(again.spheres, spheres);
    }

    #[test]
    fn a_title_that_would_close_a_circle_is_told_and_ties_nothing() {
        let board = board(&[
            ("One, depends on →2", P1, &[]),
            ("Two, depends on →1", P1, &[]),
            ("Me, requires →3", P1, &[]),
        ]);
        let compiled = compile(&board);
        assert_eq!(
            (compiled.edges.depends_on, compiled.circles),
            (vec![(id(1), id(2))], vec![(id(2), id(1))])
        );
    }

    #[test]
    fn closed_needles_are_in_no_sphere_and_a_file_that_all_name_ties_none() {
        let titles: Vec<String> = (0..9).map(|n| format!("{n}: change main.rs")).collect();
        let rows: Vec<_> = titles.iter().map(|title| (title.as_str(), P1, &[] as &[u64])).collect();
        let mut board = board(&rows);
        assert!(compile(&board).edges.is_empty());
        board.close(id(9), closed(5), None).unwrap();
        assert_eq!(compile(&board).edges.related.len(), 8 * 7 / 2);
        assert_eq!(compile(&board).spheres[0].needles.len(), 8);
    }

    #[test]
    fn a_cluster_is_matched_to_the_sphere_about_the_same_and_tack_in_hay_is_a_candidate() {
        let board = board(&[
            ("Cache the index", P1, &[]),
            ("Warm the cache", P1, &[1]),
            ("Paint it", P1, &[]),
            ("Hang it", P1, &[3]),
        ]);
        let board = with_hay(board, &["the cache is cold", ":add a cache", ".?where is it", "plain words"]);
        let Compiled { clusters, candidates, .. } = compile(&board);
        assert_eq!((clusters.len(), clusters[0].sphere), (1, Some(id(1))));
        let forms: Vec<(u64, &str)> = candidates.iter().map(|found| (found.straw, found.form)).collect();
        assert_eq!(forms, [(101, "chain"), (102, "query")]);
    }
}
