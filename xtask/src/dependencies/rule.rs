//! The floors of the building and the arrows between them.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::{Declared, Graph, Kind, Member};

/// Drivers, each with the only folder below which its types may be seen.
///
/// `benches` may use all of them: it measures us against the bare driver.
const DRIVERS: &[(&str, &str)] = &[
    ("bson", "backends/mongodb"),
    ("deadpool-postgres", "backends/postgres"),
    ("libsqlite3-sys", "backends/sqlite"),
    ("mongodb", "backends/mongodb"),
    ("redis", "backends/redis"),
    ("rusqlite", "backends/sqlite"),
    ("tokio-postgres", "backends/postgres"),
    ("tokio-postgres-rustls", "backends/postgres"),
];

/// What the core must not need, not even through others: no runtime, no driver, no YAML.
const KEPT_OUT_OF_CORE: &[&str] =
    &["clap", "libsqlite3-sys", "mio", "rusqlite", "serde-saphyr", "tokio"];

/// Where a package stands. Higher ones may depend on lower ones, never sideways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    /// Traits and model.
    Core,
    /// A room of the third floor: the backends and what is built over their trait.
    Room,
    /// The only one that knows all rooms.
    Facade,
    /// The program.
    Program,
    /// What is not part of the product: this tool, the benches, the fuzz targets and the example of a service.
    Tool,
}

/// The floor of a folder of the workspace, `None` for one we do not know.
fn floor(folder: &str) -> Option<Floor> {
    match folder {
        "crates/core" => Some(Floor::Core),
        "crates/conformance" | "crates/engine" | "crates/fault-proxy" | "crates/registry"
        | "crates/routing" => Some(Floor::Room),
        "crates/storage" => Some(Floor::Facade),
        "crates/cli" => Some(Floor::Program),
        "benches" | "examples/production" | "fuzz" | "soak" | "xtask" => Some(Floor::Tool),
        folder if is_backend(folder) => Some(Floor::Room),
        _ => None,
    }
}

fn is_backend(folder: &str) -> bool {
    folder.starts_with("backends/")
}

/// Every way in which `graph` breaks the rule, one sentence each.
pub(super) fn violations(graph: &Graph) -> Vec<String> {
    let by_name = graph.members.iter().map(|member| (member.name.as_str(), member)).collect();
    let mut found = Vec::new();
    for member in &graph.members {
        if floor(&member.folder).is_none() {
            found.push(format!(
                "{} has no floor: give its folder {} one in xtask/src/dependencies/rule.rs",
                member.name, member.folder
            ));
        }
        found.extend(member.dependencies.iter().filter_map(|to| arrow(member, to, &by_name)));
        found.extend(member.dependencies.iter().filter_map(|to| driver(member, to)));
    }
    found.extend(core_closure(graph));
    found
}

/// What is wrong with one arrow between two packages of ours.
fn arrow(from: &Member, to: &Declared, members: &BTreeMap<&str, &Member>) -> Option<String> {
    let target = members.get(to.name.as_str())?;
    let (above, below) = (floor(&from.folder)?, floor(&target.folder)?);
    let wrong = match to.kind {
        // Tests may use a neighbour, but nothing below the program may need the program.
        Kind::Development => (below >= Floor::Program).then_some("points up, even in tests"),
        Kind::Normal | Kind::Build => match above.cmp(&below) {
            std::cmp::Ordering::Less => Some("points up"),
            std::cmp::Ordering::Equal => Some("joins two packages of one floor"),
            std::cmp::Ordering::Greater => (is_backend(&target.folder) && above != Floor::Facade)
                .then_some("names a backend, which only the facade may"),
        },
    };
    wrong.map(|why| format!("{} -> {} {why}", from.name, to.name))
}

/// A driver outside its backend, whatever the dependency's kind.
fn driver(from: &Member, to: &Declared) -> Option<String> {
    let (name, home) = DRIVERS.iter().find(|(name, _)| *name == to.name)?;
    let allowed = from.folder == *home || from.folder == "benches";
    (!allowed).then(|| format!("{} -> {name}: this driver belongs to {home} alone", from.name))
}

/// What the core pulls in and should not, with the way it comes in.
fn core_closure(graph: &Graph) -> Vec<String> {
    let core = graph.members.iter().find(|member| floor(&member.folder) == Some(Floor::Core));
    let Some(core) = core else {
        return vec!["there is no crates/core".into()];
    };
    let mut seen = BTreeSet::from([core.id.as_str()]);
    let mut open = vec![(core.id.as_str(), core.name.clone())];
    let mut found = Vec::new();
    while let Some((id, way)) = open.pop() {
        let Some(package) = graph.resolved.get(id) else { continue };
        if KEPT_OUT_OF_CORE.contains(&package.name.as_str()) {
            found.push(format!("{way}: the core must not need {}", package.name));
        }
        for next in package.normal.iter().filter(|next| seen.insert(next)) {
            let name = graph.resolved.get(next).map_or(next, |package| &package.name);
            open.push((next, format!("{way} -> {name}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Resolved;

    /// The workspace as it should be; a test adds what must be caught.
    fn sound() -> Graph {
        let mut graph = Graph::default();
        for (name, folder, needs) in [
            ("core", "crates/core", "serde"),
            ("engine", "crates/engine", "core tokio"),
            ("routing", "crates/routing", "core"),
            ("registry", "crates/registry", "core serde-saphyr"),
            ("conformance", "crates/conformance", "core"),
            ("memory", "backends/memory", "core"),
            ("sqlite", "backends/sqlite", "core rusqlite"),
            ("storage", "crates/storage", "core engine registry routing memory sqlite"),
            ("cli", "crates/cli", "storage conformance core"),
            ("xtask", "xtask", "storage"),
            ("benches", "benches", "storage rusqlite"),
        ] {
            add(&mut graph, name, folder, needs);
        }
        for (name, needs) in [("serde", ""), ("tokio", "mio"), ("mio", ""), ("rusqlite", "")] {
            resolve(&mut graph, name, needs);
        }
        graph
    }

    fn add(graph: &mut Graph, name: &str, folder: &str, needs: &str) {
        let declare = |name: &str| Declared { name: name.into(), kind: Kind::Normal };
        graph.members.push(Member {
            id: name.into(),
            name: name.into(),
            folder: folder.into(),
            dependencies: needs.split_whitespace().map(declare).collect(),
        });
        resolve(graph, name, needs);
    }

    fn resolve(graph: &mut Graph, name: &str, needs: &str) {
        let normal = needs.split_whitespace().map(Into::into).collect();
        graph.resolved.insert(name.into(), Resolved { name: name.into(), normal });
    }

    /// The sound graph with one more arrow in a manifest.
    fn with(from: &str, to: &str, kind: Kind) -> Vec<String> {
        let mut graph = sound();
        let member = graph.members.iter_mut().find(|member| member.name == from).unwrap();
        member.dependencies.push(Declared { name: to.into(), kind });
        violations(&graph)
    }

    fn assert_caught(found: &[String], part: &str) {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(part), "{found:?}");
    }

    #[test]
    fn the_sound_graph_passes() {
        assert_eq!(violations(&sound()), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_up_is_caught() {
        assert_caught(&with("core", "engine", Kind::Normal), "core -> engine points up");
        assert_caught(&with("engine", "storage", Kind::Normal), "engine -> storage points up");
        assert_caught(&with("storage", "cli", Kind::Build), "storage -> cli points up");
    }

    #[test]
    fn an_arrow_between_two_rooms_is_caught() {
        for (from, to) in [("engine", "routing"), ("routing", "sqlite"), ("memory", "sqlite")] {
            assert_caught(&with(from, to, Kind::Normal), "one floor");
        }
        assert_caught(&with("registry", "engine", Kind::Build), "one floor");
    }

    #[test]
    fn a_backend_named_by_another_than_the_facade_is_caught() {
        for from in ["cli", "xtask", "benches"] {
            assert_caught(&with(from, "sqlite", Kind::Normal), "only the facade may");
        }
    }

    #[test]
    fn tests_may_use_a_neighbour_but_not_the_program() {
        assert_eq!(with("conformance", "memory", Kind::Development), Vec::<String>::new());
        assert_eq!(with("core", "engine", Kind::Development), Vec::<String>::new());
        assert_caught(&with("storage", "cli", Kind::Development), "even in tests");
    }

    #[test]
    fn a_driver_outside_its_backend_is_caught_whatever_it_is_needed_for() {
        assert_caught(&with("storage", "rusqlite", Kind::Normal), "backends/sqlite alone");
        assert_caught(&with("engine", "libsqlite3-sys", Kind::Development), "backends/sqlite");
        assert_caught(&with("sqlite", "tokio-postgres", Kind::Normal), "backends/postgres alone");
        assert_eq!(with("benches", "mongodb", Kind::Normal), Vec::<String>::new());
    }

    #[test]
    fn a_runtime_in_the_core_is_caught_with_the_way_it_came_in() {
        let mut graph = sound();
        resolve(&mut graph, "core", "serde helper");
        resolve(&mut graph, "helper", "mio");
        assert_caught(&violations(&graph), "core -> helper -> mio");
    }

    #[test]
    fn a_folder_without_a_floor_is_caught() {
        let mut graph = sound();
        add(&mut graph, "extra", "crates/extra", "core");
        assert_caught(&violations(&graph), "extra has no floor");
    }

    #[test]
    fn a_new_backend_needs_no_change_here() {
        let mut graph = sound();
        add(&mut graph, "postgres", "backends/postgres", "core tokio-postgres");
        assert_eq!(violations(&graph), Vec::<String>::new());
    }
}
