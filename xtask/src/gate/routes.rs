//! The suite on routes: a primary and a shadow, which must answer as if they were one store.

use std::str::FromStr;
use std::time::Instant;

use super::backends::{self, Selection};
use super::conformance::{Runner, program};
use super::heading;
use super::report::Report;
use crate::failure::{Context, Failure, Result};
use crate::metadata::Workspace;
use crate::servers::{Kind, Running};

/// Routes of the gate, two to four minutes each beside the soak. From memory to SQLite the tests go, with each strategy.
const IN_THE_GATE: [Pair; 3] =
    [Pair::of("sqlite", "pg"), Pair::of("mongo", "pg"), Pair::of("pg", "mongo")];
/// What every pair is run with in the long form. The first one is the gate's: who reads from the shadow sees whatever is late.
const STRATEGIES: [&str; 4] = [
    "strategy: dual-write, reads: shadow",
    "strategy: dual-write, reads: both",
    "strategy: dual-write, mirror: wait",
    "strategy: read-replica",
];
/// The group of cases that mean nothing on one database.
const ABOUT_ROUTES: &str = "RTE";
/// What there is for accounts and revocations: they are never read from a shadow alone.
const DUAL_WRITE: &str = "strategy: dual-write";

/// Two databases of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    primary: &'static str,
    shadow: &'static str,
}

impl Pair {
    const fn of(primary: &'static str, shadow: &'static str) -> Self {
        Self { primary, shadow }
    }

    /// Every kind as a primary, with every other as its shadow.
    pub(crate) fn all() -> Vec<Self> {
        let kinds: Vec<_> = backends::with_documents().collect();
        let pairs = kinds.iter().flat_map(|one| kinds.iter().map(|other| Self::of(one, other)));
        pairs.filter(|pair| pair.primary != pair.shadow).collect()
    }

    fn kinds(self) -> [&'static str; 2] {
        [self.primary, self.shadow]
    }

    /// The servers it needs.
    pub(crate) fn servers(self) -> impl Iterator<Item = Kind> {
        self.kinds().into_iter().filter_map(server)
    }
}

/// As the command line has it: the primary first, `mongo-pg`.
impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let is_it = |pair: &Self| text.split('-').eq(pair.kinds());
        let kinds = || backends::with_documents().collect::<Vec<_>>().join(", ");
        let remedy = || format!("expected two of {}, as in `mongo-pg`", kinds());
        Self::all().into_iter().find(is_it).ok_or_else(remedy)
    }
}

/// One route, of all three stores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pair: Pair,
    strategy: &'static str,
}

impl Route {
    /// Those of the gate whose databases are selected.
    pub(super) fn of_the_gate(selection: &Selection) -> Vec<Self> {
        let is_there = |pair: &Pair| pair.kinds().iter().all(|kind| selection.has(kind));
        let route = |pair| Self { pair, strategy: STRATEGIES[0] };
        IN_THE_GATE.into_iter().filter(is_there).map(route).collect()
    }

    /// Of each pair every strategy.
    fn all(pairs: &[Pair]) -> Vec<Self> {
        let each = |&pair| STRATEGIES.map(|strategy| Self { pair, strategy });
        pairs.iter().flat_map(each).collect()
    }

    /// For tables and what is recorded.
    pub(super) fn name(self) -> String {
        self.pair.kinds().join(">")
    }

    fn configuration(self, servers: &Running) -> Result<String> {
        let [main, other] = self.pair.kinds().map(|kind| block(kind, servers));
        let (main, other) = (main?, other?);
        let (mut stores, mut routing) = (String::new(), String::new());
        for (store, strategy) in
            [("document", self.strategy), ("user", DUAL_WRITE), ("revocation", DUAL_WRITE)]
        {
            stores += &format!("  {store}: {{backend: main, main: {main}, other: {other}}}\n");
            routing += &format!("    {store}: {{shadow: other, {strategy}}}\n");
        }
        Ok(format!("storage:\n{stores}  routing:\n{routing}"))
    }

    /// Runs the suite on it.
    ///
    /// # Errors
    ///
    /// As [`Runner::suite`], and when it was not seen that there are two databases.
    pub(super) fn run(self, runner: &Runner<'_>, servers: &Running) -> Result<Report> {
        let doing = || format!("conformance on {} ({})", self.name(), self.strategy);
        let configuration = self.configuration(servers)?;
        let report = runner.suite(self.pair.primary, &configuration).context(doing)?;
        if !report.ran(ABOUT_ROUTES) {
            return Err(Failure::new(format!("no case of {ABOUT_ROUTES} ran"))).context(doing);
        }
        Ok(Report { backend: self.name(), ..report })
    }
}

/// What it runs on, if it is not embedded.
fn server(kind: &str) -> Option<Kind> {
    backends::named(kind).and_then(|backend| backend.server)
}

fn block(kind: &str, servers: &Running) -> Result<String> {
    let Some(kind) = server(kind) else {
        return Ok(format!("{{kind: {kind}}}"));
    };
    let url = servers.url(kind).ok_or_else(|| Failure::new(format!("no {} runs", kind.name())))?;
    Ok(crate::servers::block_in_line(kind, &url))
}

/// The long form: of each pair all strategies, one after the other. Says whether all held.
///
/// # Errors
///
/// When the program is not there.
pub(crate) fn run_all(workspace: &Workspace, servers: &Running, pairs: &[Pair]) -> Result<bool> {
    let binary = program(workspace)?;
    let runner = Runner { workspace, program: &binary };
    let routes = Route::all(pairs);
    let mut held = true;
    for (number, route) in (1..).zip(&routes) {
        let begun = Instant::now();
        let doing = format!("{number} of {}, {} ({})", routes.len(), route.name(), route.strategy);
        heading("conformance on a route", &doing);
        held &= say(route.run(&runner, servers));
        println!("  {} s", begun.elapsed().as_secs());
    }
    Ok(held)
}

/// Prints what came out of a run. Says whether it held.
fn say(ran: Result<Report>) -> bool {
    match ran {
        Ok(report) => {
            println!("  {}", report.summary());
            report.failures().for_each(|case| println!("  {case}"));
            report.failed == 0
        }
        Err(failure) => {
            println!("error: {failure}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_runs_those_whose_databases_are_there_and_the_long_form_all() {
        let names = |wanted: &[&str]| -> Vec<String> {
            let wanted: Vec<_> = wanted.iter().map(|&name| name.to_owned()).collect();
            Route::of_the_gate(&Selection::of(&wanted)).into_iter().map(Route::name).collect()
        };
        assert_eq!(names(&[]), ["sqlite>pg", "mongo>pg", "pg>mongo"]);
        assert_eq!(names(&["sqlite", "pg"]), ["sqlite>pg"]);
        assert_eq!(names(&["pg", "mongo"]), ["mongo>pg", "pg>mongo"]);
        assert!(names(&["memory", "sqlite"]).is_empty());
        assert_eq!(Route::all(&Pair::all()).len(), 12 * STRATEGIES.len());
    }

    #[test]
    fn a_pair_is_read_the_primary_first() {
        let pair: Pair = "mongo-pg".parse().unwrap();
        assert_eq!(pair, Pair::of("mongo", "pg"));
        assert!(pair.servers().eq([Kind::Mongo, Kind::Pg]));
        for wrong in ["pg", "pg-pg", "pg-redis", "pg-mongo-sqlite", ""] {
            let refused = wrong.parse::<Pair>().unwrap_err();
            assert!(refused.contains("memory, sqlite, pg, mongo"), "{refused}");
        }
    }

    #[test]
    fn how_many_cases_each_route_of_the_gate_runs_is_recorded() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let recorded = super::super::counts::recorded(&root).unwrap();
        for route in Route::of_the_gate(&Selection::of(&[])) {
            assert!(recorded.contains_key(&route.name()), "{}", route.name());
        }
    }
}
