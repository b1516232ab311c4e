//! A client that does not give up: it connects again and repeats its call, with the same idempotency key, until the
//! daemon has answered or the deadline has passed.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use libostk::{CallOptions, Client, ClientError, Identity};
use serde_json::Value;

/// A call must be answered by then, whatever happens to the daemon meanwhile.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(3);

/// A connection that heals.
#[derive(Debug)]
pub(crate) struct Link {
    socket: PathBuf,
    identity: Identity,
    client: Option<Client>,
    /// Calls that were sent more than once.
    pub(crate) repeated: u64,
}

/// Why a call did not succeed.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The daemon's answer.
    Refused { code: String, message: String, data: Value },
    /// No answer by the deadline.
    Silent(String),
}

impl Link {
    pub(crate) const fn new(socket: PathBuf, identity: Identity) -> Self {
        Self { socket, identity, client: None, repeated: 0 }
    }

    /// Makes the call until it is answered.
    pub(crate) fn call(&mut self, verb: &str, args: &Value, key: Option<&str>) -> Result<Value, Failure> {
        let deadline = Instant::now() + DEADLINE;
        let mut attempts = 0_u32;
        loop {
            let error = match self.attempt(verb, args, key) {
                Ok(result) => {
                    self.repeated += u64::from(attempts > 0);
                    return Ok(result);
                }
                Err(error) => error,
            };
            match error {
                ClientError::Call { code, message, data, .. } => {
                    // The daemon is on its way out or overloaded; it has not taken the call.
                    let passing = matches!(code.as_str(), "busy" | "poisoned" | "stopped");
                    if !passing || Instant::now() > deadline {
                        self.repeated += u64::from(attempts > 0);
                        return Err(Failure::Refused { code, message, data });
                    }
                    if code != "busy" {
                        self.client = None;
                    }
                }
                other if Instant::now() > deadline => return Err(Failure::Silent(other.to_string())),
                ClientError::Io(_) | ClientError::Protocol(_) | ClientError::Gone { .. } => {
                    attempts += u32::from(self.client.take().is_some());
                }
            }
            thread::sleep(PAUSE);
        }
    }

    fn attempt(&mut self, verb: &str, args: &Value, key: Option<&str>) -> Result<Value, ClientError> {
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let mut client = Client::connect(&self.socket)?;
                client.attach(&self.identity, "torture", None)?;
                none.insert(client)
            }
        };
        let options = CallOptions {
            idempotency: key.map(str::to_owned),
            timeout: Some(Duration::from_secs(60)),
            tied: false,
        };
        client.call(verb, args, &options)
    }
}
