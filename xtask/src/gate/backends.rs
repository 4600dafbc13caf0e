//! The backends that the gate runs, and what a person narrowed them to.

use clap::builder::PossibleValuesParser;

use super::conformance::Part;
use crate::servers::Kind;

/// A backend the suite runs against.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Backend {
    /// Its kind in the configuration.
    pub(super) name: &'static str,
    /// The server it needs. Such a backend runs with a configuration that names the server.
    pub(super) server: Option<Kind>,
    /// Its crate.
    package: &'static str,
    /// Whether it keeps documents, which all vectors are about.
    documents: bool,
    /// How many scripts of the model test run on it: what a minute is enough for, on a busy machine too.
    pub(super) scripts: u64,
}

impl Backend {
    const fn embedded(name: &'static str, package: &'static str, scripts: u64) -> Self {
        Self { name, server: None, package, documents: true, scripts }
    }

    const fn on(server: Kind, name: &'static str, package: &'static str, scripts: u64) -> Self {
        Self { name, server: Some(server), package, documents: true, scripts }
    }

    const fn without_documents(self) -> Self {
        Self { documents: false, ..self }
    }

    /// What is run on it.
    pub(super) fn parts(&self) -> &'static [Part] {
        match self.documents {
            true => &[Part::Suite, Part::Vectors, Part::Model],
            false => &[Part::Suite, Part::Model],
        }
    }
}

/// The crate whose tests need every server.
const ON_ALL_SERVERS: &str = "syntrix-storage-example-production";

/// All of them. A new one with a server is a line here, once its kind of server is known.
const BACKENDS: &[Backend] = &[
    Backend::embedded("memory", "syntrix-storage-memory", 100),
    Backend::embedded("sqlite", "syntrix-storage-sqlite", 30),
    Backend::on(Kind::Pg, "pg", "syntrix-storage-postgres", 100),
    Backend::on(Kind::Mongo, "mongo", "syntrix-storage-mongodb", 20),
    Backend::on(Kind::Redis, "redis", "syntrix-storage-redis", 100).without_documents(),
];

/// Where it stands among them; one that is not there comes last.
pub(super) fn place(name: &str) -> usize {
    BACKENDS.iter().position(|backend| backend.name == name).unwrap_or(BACKENDS.len())
}

/// For the command line.
pub(super) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(BACKENDS.iter().map(|backend| backend.name))
}

/// What a run is narrowed to.
#[derive(Debug)]
pub(super) struct Selection(Vec<&'static Backend>);

impl Selection {
    /// The chosen backends in the order of the list, each once; all when none is chosen.
    pub(super) fn of(wanted: &[String]) -> Self {
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
        Self(BACKENDS.iter().filter(|backend| is_wanted(backend.name)).collect())
    }

    pub(super) fn backends(&self) -> impl Iterator<Item = &'static Backend> {
        self.0.iter().copied()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|backend| backend.name == name)
    }

    fn left_out(&self) -> impl Iterator<Item = &'static Backend> {
        BACKENDS.iter().filter(|backend| !self.has(backend.name))
    }

    /// The servers that have to run.
    pub(super) fn servers(&self) -> Vec<Kind> {
        self.0.iter().filter_map(|backend| backend.server).collect()
    }

    /// For a heading.
    pub(super) fn servers_in_words(&self) -> String {
        let names: Vec<_> = self.servers().into_iter().map(Kind::name).collect();
        if names.is_empty() { "none needed".to_owned() } else { names.join(", ") }
    }

    /// Arguments that leave out the tests of crates whose server does not run.
    pub(super) fn exclusions(&self) -> Vec<&'static str> {
        let without_server = self.left_out().filter(|backend| backend.server.is_some());
        let mut packages: Vec<_> = without_server.map(|backend| backend.package).collect();
        if !packages.is_empty() {
            packages.push(ON_ALL_SERVERS);
        }
        packages.into_iter().flat_map(|package| ["--exclude", package]).collect()
    }

    /// The names of tests that need a server that does not run, in crates whose other tests need none.
    pub(super) fn skipped_tests(&self) -> Vec<String> {
        let without_server = self.left_out().filter(|backend| backend.server.is_some());
        without_server.map(|backend| format!("on_a_server_{}", backend.name)).collect()
    }

    /// A narrowed run must not be mistaken for the gate, so it says so first and last.
    pub(super) fn announce(&self) {
        let names: Vec<_> = self.left_out().map(|backend| backend.name).collect();
        if !names.is_empty() {
            let without = [self.exclusions().join(" "), self.skipped_tests().join(" ")].join(" ");
            println!("\n!!! NARROWED ON PURPOSE (--backends): not run: {} !!!", names.join(", "));
            if !without.trim().is_empty() {
                println!("!!! nor the tests that need their servers: {without} !!!");
            }
        }
    }
}

/// The names of those that keep documents.
pub(super) fn with_documents() -> impl Iterator<Item = &'static str> {
    BACKENDS.iter().filter(|backend| backend.documents).map(|backend| backend.name)
}

/// The backend of this name.
pub(super) fn named(name: &str) -> Option<&'static Backend> {
    BACKENDS.iter().find(|backend| backend.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(names: &[&str]) -> Selection {
        Selection::of(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_chosen_is_everything() {
        let all = selection(&[]);
        assert_eq!(all.backends().count(), BACKENDS.len());
        assert!(all.exclusions().is_empty() && all.skipped_tests().is_empty());
        assert!(all.servers().contains(&Kind::Redis));
    }

    #[test]
    fn a_narrowed_run_starts_what_it_needs_and_leaves_out_the_other_tests() {
        let embedded = selection(&["sqlite", "memory", "sqlite"]);
        let names: Vec<_> = embedded.backends().map(|backend| backend.name).collect();
        assert_eq!(names, ["memory", "sqlite"]);
        assert!(embedded.servers().is_empty());
        assert!(embedded.exclusions().contains(&"syntrix-storage-redis"));
        assert!(embedded.exclusions().ends_with(&["--exclude", ON_ALL_SERVERS]));

        let redis = selection(&["redis"]);
        assert_eq!(
            (redis.servers(), redis.servers_in_words()),
            (vec![Kind::Redis], "redis".into())
        );
        assert!(!redis.exclusions().contains(&"syntrix-storage-sqlite"));
        assert_eq!(redis.skipped_tests(), ["on_a_server_pg", "on_a_server_mongo"]);
    }

    #[test]
    fn vectors_run_where_there_are_documents() {
        assert_eq!(named("sqlite").unwrap().parts().len(), 3);
        assert_eq!(named("redis").unwrap().parts().len(), 2);
    }
}
