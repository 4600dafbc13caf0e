//! What both sides do, as text: one operation per line, its name and its arguments as JSON.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use syntrix_storage_core::{Error, ErrorKind};

/// Operations in their order. As text it can be kept, changed by hand and parsed again:
///
/// ```
/// use syntrix_storage_conformance::model::Script;
///
/// let text = r#"create {"path":"rooms/a","data":{"n":1}}
/// update {"path":"rooms/a","data":{},"version":"current"}
/// drain
/// "#;
/// let script: Script = text.parse()?;
/// assert_eq!(script.steps.len(), 3);
/// assert_eq!(script.to_string(), text);
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Whether the backend under test uses its fast paths; a first line `slow` says that it does not.
    pub fast_paths: bool,
    /// The operations.
    pub steps: Vec<Step>,
}

/// The first line of a script without fast paths.
const SLOW: &str = "slow";

/// A field, an operator and a value.
pub type Condition = (String, String, Value);

/// Which version a write asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// None.
    #[default]
    Any,
    /// The one that is there.
    Current,
    /// The one before it.
    Previous,
}

impl Expected {
    fn is_any(&self) -> bool {
        *self == Self::Any
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// One operation. Times are relative to the start of the script.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are the arguments of the operation of the same name")]
pub enum Step {
    /// A document is created.
    Create { path: String, data: Value },
    /// A document is replaced.
    Update {
        path: String,
        data: Value,
        #[serde(default, skip_serializing_if = "Expected::is_any")]
        version: Expected,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        conditions: Vec<Condition>,
    },
    /// Fields of a document are changed.
    Patch {
        path: String,
        changes: Map<String, Value>,
        #[serde(default, skip_serializing_if = "Expected::is_any")]
        version: Expected,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        conditions: Vec<Condition>,
    },
    /// A document is deleted.
    Delete {
        path: String,
        #[serde(default, skip_serializing_if = "Expected::is_any")]
        version: Expected,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        conditions: Vec<Condition>,
    },
    /// A document is read.
    Get { path: String },
    /// Documents are read.
    GetMany { paths: Vec<String> },
    /// Writes in one call; what they expect is read before the first of them.
    Bulk { items: Vec<Step> },
    /// All pages of a query are read; an index that it needs is declared.
    Query {
        collection: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        filters: Vec<Condition>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        order: Vec<(String, String)>,
        limit: u32,
        #[serde(default, skip_serializing_if = "is_false")]
        deleted: bool,
    },
    /// As `drain`, then expired tombstones and history are removed, in batches.
    Purge { limit: usize },
    /// The events of all writes so far are read.
    Drain,
    /// As `drain`, then the watch goes on from its last token.
    Resume,
    /// An account is created.
    CreateUser { id: String, name: String, roles: Vec<String>, profile: Map<String, Value> },
    /// An account is changed.
    UpdateUser {
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        roles: Option<Vec<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disabled: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Expected::is_any")]
        version: Expected,
    },
    /// A hash is set, one of two.
    SetPassword {
        id: String,
        second: bool,
        end_sessions: bool,
        #[serde(default, skip_serializing_if = "Expected::is_any")]
        version: Expected,
    },
    /// An attempt to log in begins.
    Attempt { id: String, threshold: u32 },
    /// A failure without a ticket is counted.
    Fail { id: String, threshold: u32 },
    /// A login succeeds: with the ticket of that many attempts ago, or without one.
    Succeed {
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ticket: Option<usize>,
    },
    /// The login statistics are set.
    SetLogins { id: String, failed: u32, locked: bool },
    /// An account is read.
    GetUser { id: String },
    /// An account is looked for by name.
    FindUser { name: String },
    /// All pages of a list are read.
    ListUsers {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disabled: Option<bool>,
        limit: u32,
    },
    /// A token is revoked.
    Revoke {
        token: String,
        expires_s: i64,
        immediate: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A token is revoked if nobody did.
    Rotate { token: String, expires_s: i64, grace_ms: u64, successor: String },
    /// Tokens are checked, each alone and all in one call.
    Check { tokens: Vec<String>, grace_ms: u64 },
    /// Expired revocations are removed, in batches.
    PurgeTokens { limit: usize },
    /// Time passes, where a test can move it.
    Advance { ms: u64 },
    /// As `drain`, then every store that keeps its data is closed and opened again.
    Reopen,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As text and not as a value, which would sort the arguments: the path is to come first.
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        let named = json.strip_prefix("{\"").and_then(|rest| rest.strip_suffix('}'));
        match named.and_then(|named| named.split_once("\":")) {
            Some((name, arguments)) => write!(formatter, "{name} {arguments}"),
            None => formatter.write_str(json.trim_matches('"')),
        }
    }
}

impl FromStr for Step {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        let parsed = match line.trim().split_once(' ') {
            None => Ok(Value::String(line.trim().to_owned())),
            Some((name, arguments)) => serde_json::from_str::<Value>(arguments)
                .map(|arguments| Map::from_iter([(name.to_owned(), arguments)]).into()),
        };
        parsed.and_then(serde_json::from_value).map_err(|error| {
            Error::new(ErrorKind::InvalidArgument, "model")
                .with_message("a line is the name of an operation and its arguments as JSON")
                .with_source(error)
        })
    }
}

impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.fast_paths {
            writeln!(formatter, "{SLOW}")?;
        }
        self.steps.iter().try_for_each(|step| writeln!(formatter, "{step}"))
    }
}

impl FromStr for Script {
    type Err = Error;

    /// Empty lines mean nothing.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
        let fast_paths = lines.next_if(|line| line.trim() == SLOW).is_none();
        Ok(Self { fast_paths, steps: lines.map(str::parse).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::super::side::Scope;
    use super::*;

    #[test]
    fn every_script_is_parsed_back_from_its_text() {
        for seed in 0..200 {
            let script = generate::script(&Scope::WHOLE, seed, 60);
            assert_eq!(script.to_string().parse::<Script>().unwrap(), script);
        }
    }

    #[test]
    fn a_line_that_is_no_operation_is_refused() {
        for line in
            ["fly", "create {}", "create {\"path\":1,\"data\":{}}", "drain {", "get {\"id\":1}"]
        {
            assert!(line.parse::<Step>().is_err(), "{line}");
        }
    }
}
