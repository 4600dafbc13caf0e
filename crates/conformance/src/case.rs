//! What a case is.

use std::fmt;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use serde::Serialize;
use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{Capabilities, Error, ErrorKind};

use crate::check::CaseResult;
use crate::context::Context;

/// One statement about every store.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// As in the catalogue, for example `DOC-01`.
    pub id: &'static str,
    /// Where it belongs.
    pub group: Group,
    /// The statement, a sentence.
    pub name: &'static str,
    /// What a store that fails it would be doing wrong.
    pub guards_against: &'static str,
    /// What the backend must offer for the case to mean anything.
    pub needs: &'static [Need],
    /// Checks the statement on a store of its own.
    pub run: fn(Context) -> BoxFuture<'static, CaseResult>,
}

impl Case {
    /// The first capability the case needs and `offered` lacks.
    pub fn missing(&self, offered: &Capabilities) -> Option<Need> {
        self.needs.iter().copied().find(|need| !need.is_met(offered))
    }

    /// Whether the case also runs with fast paths off: those that write to single documents.
    pub(crate) fn is_about_writes(&self) -> bool {
        matches!(self.group, Group::Doc | Group::Pre | Group::Pat | Group::Bad)
    }
}

/// A part of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Group {
    /// Documents and their values.
    Doc,
    /// Preconditions.
    Pre,
    /// Patches.
    Pat,
    /// Queries.
    Qry,
    /// Ordering.
    Ord,
    /// Pagination.
    Pag,
    /// Indexes and the index rule.
    Idx,
    /// Watching changes.
    Wat,
    /// Resuming a watch.
    Res,
    /// Soft delete, retention and purge.
    Sdl,
    /// Configuration.
    Reg,
    /// Routes: what both databases hold.
    Rte,
    /// Closing.
    Cls,
    /// Accounts.
    Usr,
    /// Revoked tokens.
    Rev,
    /// The ledger of the backend under the store, whichever store it offers.
    Led,
    /// Concurrency, cancellation and faults.
    Con,
    /// Bad input and hostile data.
    Bad,
    /// Observability, health and the suite itself.
    Obs,
    /// Test vectors.
    Vec,
    /// The model test.
    Mod,
}

impl Group {
    /// Every group, in the catalogue's order.
    pub const ALL: [Self; 21] = [
        Self::Doc,
        Self::Pre,
        Self::Pat,
        Self::Qry,
        Self::Ord,
        Self::Pag,
        Self::Idx,
        Self::Wat,
        Self::Res,
        Self::Sdl,
        Self::Reg,
        Self::Rte,
        Self::Cls,
        Self::Usr,
        Self::Rev,
        Self::Led,
        Self::Con,
        Self::Bad,
        Self::Obs,
        Self::Vec,
        Self::Mod,
    ];

    /// The store its cases are about.
    pub const fn store(self) -> StoreKind {
        match self {
            Self::Usr => StoreKind::Users,
            Self::Rev => StoreKind::Revocations,
            _ => StoreKind::Documents,
        }
    }

    /// The first part of a case's id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Doc => "DOC",
            Self::Pre => "PRE",
            Self::Pat => "PAT",
            Self::Qry => "QRY",
            Self::Ord => "ORD",
            Self::Pag => "PAG",
            Self::Idx => "IDX",
            Self::Wat => "WAT",
            Self::Res => "RES",
            Self::Sdl => "SDL",
            Self::Reg => "REG",
            Self::Rte => "RTE",
            Self::Cls => "CLS",
            Self::Usr => "USR",
            Self::Rev => "REV",
            Self::Led => "LED",
            Self::Con => "CON",
            Self::Bad => "BAD",
            Self::Obs => "OBS",
            Self::Vec => "VEC",
            Self::Mod => "MOD",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Group {
    type Err = Error;

    /// Upper or lower case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|group| group.as_str().eq_ignore_ascii_case(text));
        known.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|group| group.as_str()).collect();
            Error::new(ErrorKind::InvalidArgument, "conformance")
                .with_message(format!("a group is one of {}", names.join(" ")))
        })
    }
}

/// A capability that a case cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// [`Capabilities::durable`].
    Durable,
    /// [`Capabilities::watch`].
    Watch,
    /// [`Capabilities::durable_watch`].
    DurableWatch,
    /// [`Capabilities::before`].
    Before,
    /// [`Capabilities::shared`].
    Shared,
    /// [`Capabilities::injected_clock`].
    InjectedClock,
}

impl Need {
    /// The capability's name, as in the JSON form of [`Capabilities`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Watch => "watch",
            Self::DurableWatch => "durableWatch",
            Self::Before => "before",
            Self::Shared => "shared",
            Self::InjectedClock => "injectedClock",
        }
    }

    /// Whether `offered` has it.
    pub const fn is_met(self, offered: &Capabilities) -> bool {
        match self {
            Self::Durable => offered.durable,
            Self::Watch => offered.watch,
            Self::DurableWatch => offered.durable_watch,
            Self::Before => offered.before,
            Self::Shared => offered.shared,
            Self::InjectedClock => offered.injected_clock,
        }
    }
}

/// Defines a case in one place: id, group, statement, what it guards against, needs, and the check.
///
/// An ordinary list of expressions, so that rustfmt formats it; keep the sentences below 90 columns.
macro_rules! case {
    ($id:literal, $group:ident, $name:expr, $guards_against:expr, [$($need:ident),*], async |$context:ident| $body:block $(,)?) => {
        $crate::Case {
            id: $id,
            group: $crate::Group::$group,
            name: $name,
            guards_against: $guards_against,
            needs: &[$($crate::Need::$need),*],
            run: |$context: $crate::Context| $crate::case::boxed(async move $body),
        }
    };
}
pub(crate) use case;

/// Tells the compiler what the `?` in a case's body turns errors into.
pub(crate) fn boxed(
    body: impl Future<Output = CaseResult> + Send + 'static,
) -> BoxFuture<'static, CaseResult> {
    Box::pin(body)
}
