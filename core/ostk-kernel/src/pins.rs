//! Which pin bounds a session that starts: nobody sheds one by starting anew.
//!
//! A lineage keeps its pin until a person names another, and so does the name that it comes from: `w-2` has the pin that
//! `w-1` had last. A client that attaches by itself is no person and can name none but that. An agent hands its own pin on
//! and can change nobody's. The background processes of a lineage end when its pin changes: they were started inside other
//! bounds.

use crate::{
    call::{CallError, Caller, Code},
    kernel::Kernel,
    state::LineageKind,
};

impl Kernel {
    /// The pin of the session of `lineage` that `caller` starts and for which it names the pin `wanted`. `by_name` is the
    /// pin of its name ([`Kernel::pin_of_name`]), where that counts.
    ///
    /// # Errors
    /// [`Code::Denied`] when an agent would shed a pin, change one, or take over what is not its own.
    pub(crate) fn pin_for(
        &self,
        caller: &Caller,
        wanted: Option<&str>,
        lineage: &str,
        by_name: Option<&str>,
    ) -> Result<Option<String>, CallError> {
        // In a stack everybody has the pin of whoever spawned it.
        if let Some(cap) = self.state.within.as_ref().and_then(|within| within.pin.as_deref()) {
            return match wanted {
                Some(wanted) if wanted != cap => denied(format!(
                    "everybody in this stack is bound by the pin {cap}, and nobody by {wanted}"
                )),
                _ => Ok(Some(cap.to_owned())),
            };
        }
        let known = self.state.lineages.get(lineage);
        let kept = known.and_then(|known| known.pin.as_deref()).or(by_name);
        match (caller, wanted, kept) {
            // A client that attaches: nobody has said that it speaks for a person.
            (Caller::Kernel, Some(wanted), Some(kept)) if wanted != kept => {
                return needs_a_person(lineage, kept, wanted);
            }
            (Caller::Human(_) | Caller::Kernel, ..) => return Ok(wanted.or(kept).map(str::to_owned)),
            _ => {}
        }
        let me = caller.lineage();
        let own = self.state.lineages.get(me).and_then(|known| known.pin.as_deref());
        let bound = own.or(wanted).or(kept);
        if own.is_some() && wanted.is_some_and(|wanted| Some(wanted) != own) {
            let (own, wanted) = (shown(own), shown(wanted));
            return denied(format!("{me} is bound by {own} and may not start {lineage} under {wanted}"));
        }
        if lineage == me {
            return Ok(bound.map(str::to_owned));
        }
        if known.is_some_and(|known| known.kind != LineageKind::Native) {
            return denied(format!("{me} may not start a session of {lineage}, which is not its own"));
        }
        if (known.is_some() || by_name.is_some()) && bound != kept {
            let (kept, bound) = (shown(kept), shown(bound));
            return denied(format!("{lineage} is bound by {kept}; {me} may not start it under {bound}"));
        }
        Ok(bound.map(str::to_owned))
    }

    /// The last pin of those that come from the same name as `lineage`: of `w`, `w-1`, `w-2` and so on.
    pub(crate) fn pin_of_name(&self, lineage: &str) -> Option<String> {
        if let Some(cap) = self.state.within.as_ref().and_then(|within| within.pin.clone()) {
            return Some(cap);
        }
        let root = self.root_of(lineage);
        let numbered = format!("{root}-");
        let exact = self.state.lineages.get_key_value(root);
        let others = self.state.lineages.range(numbered.clone()..);
        let others = others.take_while(|(name, _)| name.starts_with(&numbered));
        let family = exact.into_iter().chain(others.filter(|(name, _)| self.root_of(name) == root));
        let pinned = family.filter(|(_, known)| known.pin.is_some());
        let last = pinned.max_by_key(|(_, known)| (known.started, known.since));
        last.and_then(|(_, known)| known.pin.clone())
    }

    /// The name of the home of an agent: that of its name and its pin, `w` or `w+reader`. What an agent left in a home that
    /// it obeys, one with other bounds must not.
    pub(crate) fn home_of(&self, lineage: &str) -> String {
        let root = self.root_of(lineage);
        let pin = self.state.lineages.get(lineage).and_then(|known| known.pin.as_deref());
        pin.map_or_else(|| root.to_owned(), |pin| format!("{root}+{pin}"))
    }

    /// The name to which numbers were added: `w` of `w-2`, if there is a `w` or a `w-1`. A name that a person has chosen may
    /// end in a number as well.
    fn root_of<'a>(&self, name: &'a str) -> &'a str {
        let mut root = name;
        while let Some(stem) = stem_of(root).filter(|stem| self.is_stem(stem)) {
            root = stem;
        }
        root
    }

    /// Whether lineages have come from a name.
    fn is_stem(&self, stem: &str) -> bool {
        let numbered = format!("{stem}-");
        let others = self.state.lineages.range(numbered.clone()..);
        self.state.lineages.contains_key(stem)
            || others
                .take_while(|(name, _)| name.starts_with(&numbered))
                .any(|(name, _)| stem_of(name) == Some(stem))
    }

    /// Ends what a lineage runs in the background if the pin that now bounds it is another.
    pub(crate) fn end_processes_of_another_pin(&mut self, lineage: &str, pin: Option<&str>) {
        if self.state.lineages.get(lineage).is_some_and(|known| known.pin.as_deref() != pin) {
            self.kill_processes(lineage);
        }
    }
}

/// A name without the number behind it.
fn stem_of(name: &str) -> Option<&str> {
    let (stem, number) = name.rsplit_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !stem.is_empty()).then_some(stem)
}

fn needs_a_person<T>(lineage: &str, kept: &str, wanted: &str) -> Result<T, CallError> {
    let name = stem_of(lineage).unwrap_or(lineage);
    let message = format!("{name} is bound by the pin {kept}, and only a person gives it the pin {wanted}");
    let call = format!("ostk call session.start '{{\"name\":\"{name}\",\"pin\":\"{wanted}\"}}'");
    Err(CallError::new(Code::Denied, message)
        .hint(format!("as the operator: {call}; or attach without a pin")))
}

fn shown(pin: Option<&str>) -> String {
    pin.map_or_else(|| "no pin".to_owned(), |pin| format!("the pin {pin}"))
}

fn denied<T>(what: String) -> Result<T, CallError> {
    Err(CallError::new(Code::Denied, what).hint("choose another name, or ask the operator"))
}
