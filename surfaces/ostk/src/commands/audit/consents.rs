//! The consents of a log: whether what ran under one is what a person was asked about and granted.
//!
//! `replay` feeds it questions and answers in the log's order and asks about every verdict that names a consent. The gate
//! computes the verdict itself again; that the consent which it rests on exists is seen here.

use std::collections::{BTreeMap, BTreeSet};

use ostk_kernel::{Event, Scope};
use ostk_policy::{Request, Resource};

/// Questions and answers as they stand in the log.
#[derive(Default)]
pub(super) struct Consents {
    questions: BTreeMap<u64, Question>,
    answers: BTreeMap<u64, Answer>,
}

struct Question {
    actor: String,
    request: Request,
    used: bool,
}

struct Answer {
    question: u64,
    by: String,
    granted: bool,
    scope: Scope,
}

impl Consents {
    /// Takes in a question, an answer or the use of one; any other event is none of them.
    pub(super) fn note(&mut self, seq: u64, actor: &str, event: &Event) {
        match event {
            Event::ApprovalRequested { request, .. } => {
                let (actor, request) = (actor.to_owned(), Request::clone(request));
                self.questions.insert(seq, Question { actor, request, used: false });
            }
            Event::ApprovalAnswered { approval, granted, scope, .. } => {
                let (by, granted, scope) = (actor.to_owned(), *granted, *scope);
                self.answers.insert(seq, Answer { question: *approval, by, granted, scope });
            }
            Event::ApprovalUsed { approval } => {
                if let Some(question) = self.questions.get_mut(approval) {
                    question.used = true;
                }
            }
            _ => {}
        }
    }

    /// Why the consent that the requests of a record name does not cover them; none when it does.
    ///
    /// A call that touches several files was asked about as a whole: then one of its requests is the question's.
    pub(super) fn problem(&self, actor: &str, requests: &[&Request]) -> Option<String> {
        let named: BTreeSet<u64> = requests.iter().filter_map(|request| request.approved).collect();
        named.into_iter().find_map(|seq| {
            let under: Vec<&Request> =
                requests.iter().copied().filter(|request| request.approved == Some(seq)).collect();
            self.uncovered(actor, seq, &under).map(|why| format!("consent {seq}: {why}"))
        })
    }

    fn uncovered(&self, actor: &str, seq: u64, under: &[&Request]) -> Option<&'static str> {
        let Some(answer) = self.answers.get(&seq) else { return Some("the record is not an answer") };
        let Some(question) = self.questions.get(&answer.question) else {
            return Some("it answers no question");
        };
        let asked = &question.request;
        let same_call = under.iter().all(|request| request.call == asked.call);
        let problems = [
            (!answer.granted, "it was denied"),
            (!answer.by.starts_with("human:"), "no person gave it"),
            (question.actor != actor, "somebody else asked"),
            (!same_call, "it was asked for another call"),
            (!under.iter().any(|request| covers(asked, request)), "it was asked for something else"),
            (answer.scope == Scope::Once && !question.used, "its use is not recorded"),
        ];
        problems.into_iter().find(|(found, _)| *found).map(|(_, why)| why)
    }
}

/// Whether a question was about a request: the same thing, no label that the person did not know of, and of a tool the
/// same arguments.
fn covers(asked: &Request, request: &Request) -> bool {
    asked.resource == request.resource
        && request.labels.iter().all(|label| asked.labels.contains(label))
        && (!matches!(asked.resource, Resource::Tool(_)) || asked.args == request.args)
}

#[cfg(test)]
mod tests {
    use libostk::Hash;
    use ostk_policy::{Actor, ActorKind, Class};

    use super::*;

    fn request(path: &str, approved: Option<u64>) -> Request {
        let actor = Actor::new(ActorKind::Agent, "w");
        let resource = Resource::Path(path.to_owned());
        Request { approved, ..Request::new(actor, "file.write", Class::FileWrite, resource) }
    }

    /// A log in which `agent:w` asked (record 1), `by` answered (record 2) and the consent was used.
    fn asked(by: &str, granted: bool, scope: Scope) -> Consents {
        let mut consents = Consents::default();
        let event = Event::ApprovalRequested {
            request: Box::new(request("a", None)),
            call: Hash::of(b"call"),
            until: "2026-01-02T03:04:05.000006Z".parse().unwrap(),
            rules: Vec::new(),
            reason: String::new(),
        };
        consents.note(1, "agent:w", &event);
        let event = Event::ApprovalAnswered { approval: 1, granted, scope, reason: None, key: None };
        consents.note(2, by, &event);
        consents.note(3, "agent:w", &Event::ApprovalUsed { approval: 1 });
        consents
    }

    #[track_caller]
    fn check(consents: &Consents, actor: &str, requests: &[Request], problem: Option<&str>) {
        let found = consents.problem(actor, &requests.iter().collect::<Vec<_>>());
        match (found, problem) {
            (None, None) => {}
            (Some(found), Some(wanted)) if found.contains(wanted) => {}
            (found, wanted) => panic!("{found:?}, not {wanted:?}"),
        }
    }

    #[test]
    fn what_a_person_granted_is_covered_with_all_that_it_touches() {
        for scope in [Scope::Once, Scope::Session] {
            let consents = asked("human:ada", true, scope);
            check(&consents, "agent:w", &[request("a", Some(2))], None);
            check(&consents, "agent:w", &[request("a", Some(2)), request("b", Some(2))], None);
            check(&consents, "agent:w", &[request("b", None)], None);
        }
    }

    #[test]
    fn what_nobody_granted_for_this_call_is_not_covered() {
        let good = asked("human:ada", true, Scope::Once);
        check(&good, "agent:w", &[request("b", Some(2))], Some("something else"));
        check(&good, "agent:v", &[request("a", Some(2))], Some("somebody else"));
        check(&good, "agent:w", &[request("a", Some(1))], Some("not an answer"));
        let other = Request { call: "file.delete".to_owned(), ..request("a", Some(2)) };
        check(&good, "agent:w", &[other], Some("another call"));
        let labelled = Request { labels: vec!["untrusted".to_owned()], ..request("a", Some(2)) };
        check(&good, "agent:w", &[labelled], Some("something else"));
        check(&asked("human:ada", false, Scope::Once), "agent:w", &[request("a", Some(2))], Some("denied"));
        check(&asked("kernel", true, Scope::Once), "agent:w", &[request("a", Some(2))], Some("no person"));
        check(
            &asked("agent:w", true, Scope::Session),
            "agent:w",
            &[request("a", Some(2))],
            Some("no person"),
        );
    }
}
