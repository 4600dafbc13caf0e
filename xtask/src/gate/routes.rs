//! The suite on routes: a primary and a shadow, which must answer as if they were one store.

use super::backends::Selection;
use super::conformance::{Runner, program};
use super::report::Report;
use crate::failure::{Context, Failure, Result};
use crate::metadata::Workspace;
use crate::servers::{Kind, Running};

/// Kinds that keep documents.
const KINDS: [&str; 4] = ["memory", "sqlite", "pg", "mongo"];
/// Routes of the gate, two to four minutes each beside the soak. From memory to SQLite the tests go, with each strategy.
const IN_THE_GATE: [[&str; 2]; 3] = [["sqlite", "pg"], ["mongo", "pg"], ["pg", "mongo"]];
/// What every pair is run with in the long form. The first one is the gate's: who reads from the shadow sees whatever is late.
const STRATEGIES: [&str; 4] = [
    "strategy: dual-write, reads: shadow",
    "strategy: dual-write, reads: both",
    "strategy: dual-write, mirror: wait",
    "strategy: read-replica",
];
/// What there is for accounts and revocations: they are never read from a shadow alone.
const DUAL_WRITE: &str = "strategy: dual-write";

/// One route, of all three stores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    primary: &'static str,
    shadow: &'static str,
    strategy: &'static str,
}

impl Route {
    /// Those of the gate whose databases are selected.
    pub(super) fn of_the_gate(selection: &Selection) -> Vec<Self> {
        let is_there = |pair: &[&str; 2]| pair.iter().all(|kind| selection.has(kind));
        let route = |[primary, shadow]: [&'static str; 2]| Self {
            primary,
            shadow,
            strategy: STRATEGIES[0],
        };
        IN_THE_GATE.into_iter().filter(is_there).map(route).collect()
    }

    /// Every pair, and of each every strategy.
    fn all() -> Vec<Self> {
        let pairs =
            KINDS.iter().flat_map(|primary| KINDS.iter().map(move |shadow| (primary, shadow)));
        let pairs = pairs.filter(|(primary, shadow)| primary != shadow);
        pairs
            .flat_map(|(primary, shadow)| {
                STRATEGIES.map(|strategy| Self { primary, shadow, strategy })
            })
            .collect()
    }

    /// For tables and what is recorded.
    pub(super) fn name(self) -> String {
        format!("{}>{}", self.primary, self.shadow)
    }

    fn configuration(self, servers: &Running) -> Result<String> {
        let Self { primary, shadow, strategy } = self;
        let [main, other] = [primary, shadow].map(|kind| block(kind, servers));
        let (main, other) = (main?, other?);
        let (mut stores, mut routing) = (String::new(), String::new());
        for (store, strategy) in
            [("document", strategy), ("user", DUAL_WRITE), ("revocation", DUAL_WRITE)]
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
    /// As [`Runner::suite`].
    pub(super) fn run(self, runner: &Runner<'_>, servers: &Running) -> Result<Report> {
        let doing = || format!("conformance on {} ({})", self.name(), self.strategy);
        let configuration = self.configuration(servers)?;
        let report = runner.suite(self.primary, &configuration).context(doing)?;
        Ok(Report { backend: self.name(), ..report })
    }
}

fn block(kind: &str, servers: &Running) -> Result<String> {
    let kind = match kind {
        "pg" => Kind::Pg,
        "mongo" => Kind::Mongo,
        embedded => return Ok(format!("{{kind: {embedded}}}")),
    };
    let url = servers.url(kind).ok_or_else(|| Failure::new(format!("no {} runs", kind.name())))?;
    Ok(crate::servers::block_in_line(kind, &url))
}

/// The long form: all pairs, all strategies, one after the other. Says whether all held.
///
/// # Errors
///
/// When the program is not there.
pub(crate) fn run_all(workspace: &Workspace, servers: &Running) -> Result<bool> {
    let binary = program(workspace)?;
    let runner = Runner { workspace, program: &binary };
    let mut held = true;
    for route in Route::all() {
        match route.run(&runner, servers) {
            Ok(report) => {
                println!("{} ({})", report.summary(), route.strategy);
                report.failures().for_each(|case| println!("  {case}"));
                held &= report.failed == 0;
            }
            Err(failure) => {
                println!("error: {failure}");
                held = false;
            }
        }
    }
    Ok(held)
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
        assert_eq!(Route::all().len(), 12 * STRATEGIES.len());
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
