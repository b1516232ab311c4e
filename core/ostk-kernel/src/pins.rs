//! Which pin bounds a session that starts: nobody sheds one by starting anew.
//!
//! A lineage keeps its pin until a person names another. An agent hands its own pin on and can change nobody's. The
//! background processes of a lineage end when its pin changes: they were started inside other bounds.

use crate::{
    call::{CallError, Caller, Code},
    kernel::Kernel,
    state::LineageKind,
};

impl Kernel {
    /// The pin of the session of `lineage` that `caller` starts and for which it names the pin `wanted`.
    ///
    /// # Errors
    /// [`Code::Denied`] when an agent would shed a pin, change one, or take over what is not its own.
    pub(crate) fn pin_for(
        &self,
        caller: &Caller,
        wanted: Option<&str>,
        lineage: &str,
    ) -> Result<Option<String>, CallError> {
        let known = self.state.lineages.get(lineage);
        let kept = known.and_then(|known| known.pin.as_deref());
        if matches!(caller, Caller::Human(_) | Caller::Kernel) {
            return Ok(wanted.or(kept).map(str::to_owned));
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
        if known.is_some() && bound != kept {
            let (kept, bound) = (shown(kept), shown(bound));
            return denied(format!("{lineage} is bound by {kept}; {me} may not start it under {bound}"));
        }
        Ok(bound.map(str::to_owned))
    }

    /// Ends what a lineage runs in the background if the pin that now bounds it is another.
    pub(crate) fn end_processes_of_another_pin(&mut self, lineage: &str, pin: Option<&str>) {
        if self.state.lineages.get(lineage).is_some_and(|known| known.pin.as_deref() != pin) {
            self.kill_processes(lineage);
        }
    }
}

fn shown(pin: Option<&str>) -> String {
    pin.map_or_else(|| "no pin".to_owned(), |pin| format!("the pin {pin}"))
}

fn denied<T>(what: String) -> Result<T, CallError> {
    Err(CallError::new(Code::Denied, what).hint("choose another name, or ask the operator"))
}
