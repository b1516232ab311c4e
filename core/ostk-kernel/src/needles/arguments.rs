//! Reads what a call about work says, and says what is missing and how to give it.

use std::collections::BTreeSet;

use ostk_work::{Board, Change, MAX_OPEN, Needle, NeedleId, Priority, REQUIRED, Status, closes_a_circle};
use serde_json::{Value, json};

use crate::{
    call::{CallError, Code},
    event::Event,
    kernel::Job,
    limits::MAX_COMMAND,
};

/// Longest title in characters: a line of a table.
const MAX_TITLE: usize = 200;
/// Longest description in bytes; what is longer is a file that the description names.
const MAX_DESCRIPTION: usize = 16 * 1024;
/// Longest straw in bytes: one thought.
const MAX_STRAW: usize = 4 * 1024;
/// Most acceptance commands of a needle.
const MAX_AC: usize = 16;
/// Most tags, dependencies and straws that one call gives.
const MAX_LIST: usize = 128;
/// Longest tag or milestone in bytes.
const MAX_WORD: usize = 64;

/// How a needle is given.
const HOW: &str = "ostk work add --title TEXT --priority P1 --description TEXT --ac COMMAND; --no-ac where no command can tell";

pub(super) fn hay(job: &Job) -> Result<Event, CallError> {
    let text = job.text("text").unwrap_or_default().trim().to_owned();
    if text.is_empty() {
        return Err(CallError::new(Code::Usage, "there is no thought to file")
            .hint("ostk hay \"retry flaky uploads\""));
    }
    if text.len() > MAX_STRAW {
        return Err(too_large("a straw", MAX_STRAW)
            .hint("one thought for each; what is longer is a file that it names"));
    }
    Ok(Event::HayFiled { text, source: job.text("source").map(str::to_owned), key: job.key.clone() })
}

pub(super) fn decision(job: &Job) -> Result<(Event, String), CallError> {
    let text = |name: &str| job.text(name).unwrap_or_default().trim().to_owned();
    let (name, value) = (text("key"), text("value"));
    if name.is_empty() || value.is_empty() {
        return Err(CallError::new(Code::Usage, "a decision has a key and a value")
            .hint("ostk decide database sqlite \"one file\""));
    }
    let reason = job.text("reason").map(str::to_owned);
    Ok((Event::DecisionMade { name: name.clone(), value, reason, key: job.key.clone() }, name))
}

/// The needle of `work.add` under the next number.
pub(super) fn needle(board: &Board, job: &Job) -> Result<(Event, NeedleId), CallError> {
    if board.open().count() >= MAX_OPEN {
        return Err(CallError::new(Code::Busy, format!("{MAX_OPEN} needles are open"))
            .hint("close some: ostk work list"));
    }
    nothing_missing(job)?;
    let change = change(job)?;
    let id = NeedleId::new(board.last + 1);
    let (depends_on, blocks) = (ids(board, job, "depends_on")?, ids(board, job, "blocks")?);
    let circle = depends_on.iter().flat_map(|needed| blocks.iter().map(move |waiting| (*waiting, *needed)));
    if let Some((waiting, needed)) =
        circle.into_iter().find(|(waiting, needed)| closes_a_circle(board, *waiting, *needed))
    {
        return Err(self::circle(waiting, needed));
    }
    let event = Event::NeedleAdded {
        id,
        title: change.title.unwrap_or_default(),
        priority: change.priority.unwrap_or(Priority::P3),
        description: change.description.unwrap_or_default(),
        ac: change.ac.unwrap_or_default(),
        tags: change.tags.unwrap_or_default().into_iter().collect(),
        milestone: change.milestone,
        depends_on,
        blocks,
        hay: straws(board, job)?,
        key: job.key.clone(),
    };
    Ok((event, id))
}

/// A needle is given with everything that whoever takes it needs.
fn nothing_missing(job: &Job) -> Result<(), CallError> {
    let is_given = |name: &str| match job.args.get(name) {
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(_) => true,
        None => false,
    };
    let missing: Vec<&(&str, &str)> = REQUIRED.iter().filter(|(name, _)| !is_given(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing.iter().map(|(name, what)| format!("\n  {name}: {what}")).collect();
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    Err(CallError::new(
        Code::Usage,
        format!("a needle without these cannot be taken by anybody else:{}", lines.concat()),
    )
    .hint(HOW)
    .data(json!({ "missing": names })))
}

/// The members that a call gives of a needle.
pub(super) fn change(job: &Job) -> Result<Change, CallError> {
    let title = job.text("title").map(title).transpose()?;
    let priority = job.text("priority").map(priority).transpose()?;
    let status = job.text("status").map(settable).transpose()?;
    let description = job.text("description").map(|text| text.trim().to_owned());
    if description.as_ref().is_some_and(|text| text.len() > MAX_DESCRIPTION) {
        return Err(too_large("the description", MAX_DESCRIPTION)
            .hint("put the long part into a file and name it here"));
    }
    let (ac, tags) = (commands(job)?, tags(job)?);
    let milestone = job.text("milestone").map(|word| self::word("milestone", word)).transpose()?;
    Ok(Change { title, priority, status, ac, description, tags, milestone })
}

fn title(text: &str) -> Result<String, CallError> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) || text.chars().count() > MAX_TITLE {
        return Err(CallError::new(
            Code::Usage,
            format!("a title is one line of 1 to {MAX_TITLE} characters"),
        )
        .hint("the rest goes into the description"));
    }
    Ok(text.to_owned())
}

fn priority(word: &str) -> Result<Priority, CallError> {
    word.parse().map_err(|_| {
        CallError::new(Code::Usage, format!("no such priority: {word:?}")).hint("P0, P1, P2 or P3")
    })
}

/// A status that is given and does not follow from a claim or an end.
fn settable(word: &str) -> Result<Status, CallError> {
    match word.parse() {
        Ok(status @ (Status::Open | Status::Shelved)) => Ok(status),
        Ok(Status::InProgress) => {
            Err(CallError::new(Code::Usage, "a needle is in progress when somebody claims it")
                .hint("ostk work claim ID"))
        }
        Ok(Status::Closed) => {
            Err(CallError::new(Code::Usage, "a needle is closed by its acceptance")
                .hint("ostk work close ID"))
        }
        Err(_) => {
            Err(CallError::new(Code::Usage, format!("no such status: {word:?}")).hint("open or shelved"))
        }
    }
}

fn commands(job: &Job) -> Result<Option<Vec<String>>, CallError> {
    let Some(given) = texts(job, "ac") else { return Ok(None) };
    if given.len() > MAX_AC {
        return Err(CallError::new(Code::TooLarge, format!("more than {MAX_AC} acceptance commands"))
            .hint("put them into a script and give that"));
    }
    if given.iter().any(|command| command.trim().is_empty()) {
        return Err(CallError::new(Code::Usage, "an acceptance command is empty")
            .hint("an empty list says that no command can tell (--no-ac)"));
    }
    let longest = given.iter().map(|command| Value::from(command.as_str()).to_string().len()).max();
    if longest.is_some_and(|longest| longest > MAX_COMMAND) {
        return Err(
            too_large("an acceptance command", MAX_COMMAND).hint("put it into a script and give that")
        );
    }
    Ok(Some(given))
}

fn tags(job: &Job) -> Result<Option<BTreeSet<String>>, CallError> {
    let given = texts(job, "tags");
    let given =
        given.map(|tags| tags.iter().map(|tag| word("tag", tag)).collect::<Result<BTreeSet<String>, _>>());
    let given = given.transpose()?;
    if given.as_ref().is_some_and(|tags| tags.len() > MAX_LIST) {
        return Err(CallError::new(Code::TooLarge, format!("more than {MAX_LIST} tags")));
    }
    Ok(given)
}

fn word(what: &str, word: &str) -> Result<String, CallError> {
    let word = word.trim();
    let good = |c: char| !c.is_control() && !c.is_whitespace() && c != ',';
    if word.is_empty() || word.len() > MAX_WORD || !word.chars().all(good) {
        return Err(CallError::new(Code::Usage, format!("not a {what}: {word:?}"))
            .hint(format!("one word of at most {MAX_WORD} bytes")));
    }
    Ok(word.to_owned())
}

/// The needle that an argument names; one that was closed long ago and is forgotten is not found.
pub(super) fn id(board: &Board, job: &Job, name: &str) -> Result<NeedleId, CallError> {
    let id = parse(job.text(name).unwrap_or_default())?;
    if board.needles.contains_key(&id) { Ok(id) } else { Err(unknown(id)) }
}

fn parse(text: &str) -> Result<NeedleId, CallError> {
    text.parse().map_err(|_| {
        CallError::new(Code::Usage, format!("not the name of a needle: {text:?}"))
            .hint("7, →7 and ->7 are one")
    })
}

fn unknown(id: NeedleId) -> CallError {
    CallError::new(Code::NotFound, format!("there is no needle {id}")).hint("ostk work list --all")
}

fn ids(board: &Board, job: &Job, name: &str) -> Result<Vec<NeedleId>, CallError> {
    let given = texts(job, name).unwrap_or_default();
    if given.len() > MAX_LIST {
        return Err(CallError::new(Code::TooLarge, format!("{name}: more than {MAX_LIST} needles")));
    }
    let known = |text: &String| {
        let id = parse(text)?;
        if board.knows(id) { Ok(id) } else { Err(unknown(id)) }
    };
    let found: BTreeSet<NeedleId> = given.iter().map(known).collect::<Result<_, CallError>>()?;
    Ok(found.into_iter().collect())
}

/// The straws that a needle comes from.
fn straws(board: &Board, job: &Job) -> Result<Vec<u64>, CallError> {
    let given = texts(job, "hay").unwrap_or_default();
    if given.len() > MAX_LIST {
        return Err(CallError::new(Code::TooLarge, format!("hay: more than {MAX_LIST} straws")));
    }
    let known = |text: &String| {
        let straw = text.trim().parse().ok().filter(|seq| board.hay.contains_key(seq));
        straw.ok_or_else(|| {
            CallError::new(Code::NotFound, format!("there is no straw {text:?}")).hint("ostk hay --list")
        })
    };
    given.iter().map(known).collect()
}

fn texts(job: &Job, name: &str) -> Option<Vec<String>> {
    let given = job.args.get(name)?.as_array()?;
    Some(given.iter().filter_map(Value::as_str).map(|text| text.trim().to_owned()).collect())
}

/// A dependency that would never end.
pub(super) fn circle(waiting: NeedleId, needed: NeedleId) -> CallError {
    let message = if waiting == needed {
        format!("{waiting} cannot be tied to itself")
    } else {
        format!("{needed} waits for {waiting} already: neither could ever be begun")
    };
    let hint =
        format!("ostk work show {}, and take a link off with ostk work link --remove", needed.number());
    CallError::new(Code::Conflict, message).hint(hint)
}

fn too_large(what: &str, most: usize) -> CallError {
    CallError::new(Code::TooLarge, format!("{what} is longer than {most} bytes"))
}

/// Which needles a call is about.
pub(super) struct Filter {
    status: Option<Status>,
    priority: Option<Priority>,
    tag: Option<String>,
    milestone: Option<String>,
    all: bool,
}

impl Filter {
    pub(super) fn of(job: &Job) -> Result<Self, CallError> {
        let status = job.text("status").map(str::parse::<Status>).transpose();
        let status = status.map_err(|error| {
            CallError::new(Code::Usage, error.to_string()).hint("open, in_progress, shelved or closed")
        })?;
        let word = |name: &str| job.text(name).map(str::to_owned);
        let priority = job.text("priority").map(self::priority).transpose()?;
        Ok(Self { status, priority, tag: word("tag"), milestone: word("milestone"), all: job.flag("all") })
    }

    /// Whether a needle is meant; closed ones are only when they are asked for.
    pub(super) fn fits(&self, needle: &Needle) -> bool {
        let shown = self.all || self.status == Some(Status::Closed) || needle.is_open();
        shown
            && self.status.is_none_or(|status| needle.status == status)
            && self.priority.is_none_or(|priority| needle.priority == priority)
            && self.tag.as_ref().is_none_or(|tag| needle.tags.contains(tag))
            && self.milestone.as_ref().is_none_or(|milestone| needle.milestone.as_ref() == Some(milestone))
    }
}
