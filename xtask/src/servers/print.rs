//! What a person or a test needs to use the servers.

use std::fmt::Write;

use super::{Kind, Server};

/// Lines for a shell.
pub(super) fn exports(servers: &[Server]) -> String {
    let line = |server: &Server| format!("export {}='{}'\n", server.kind.variable(), server.url);
    servers.iter().map(line).collect()
}

/// A configuration in which `kind` keeps every store it offers.
pub(crate) fn configuration(kind: Kind, url: &str) -> String {
    let stores: &[&str] = match kind {
        Kind::Pg | Kind::Mongo => &["document", "user", "revocation"],
        Kind::Redis => &["revocation"],
    };
    let sections = stores.iter().map(|store| section(store, kind, url));
    sections.fold("storage:\n".to_owned(), |text, section| text + &section)
}

/// A server in one line, for a section that names several.
pub(crate) fn block_in_line(kind: Kind, url: &str) -> String {
    let pairs = block(kind, url).into_iter().map(|(key, value)| format!(", {key}: \"{value}\""));
    format!("{{kind: {}{}}}", kind.name(), pairs.collect::<String>())
}

/// The requirement's example on the servers that run: documents on MongoDB, accounts on PostgreSQL, revocations on Redis.
pub(super) fn example(servers: &[Server]) -> String {
    let stores = [("document", Kind::Mongo), ("user", Kind::Pg), ("revocation", Kind::Redis)];
    stores.into_iter().fold("storage:\n".to_owned(), |text, (store, kind)| {
        match servers.iter().find(|server| server.kind == kind) {
            Some(server) => text + &section(store, kind, &server.url),
            None => text,
        }
    })
}

fn section(store: &str, kind: Kind, url: &str) -> String {
    let name = kind.name();
    let mut text = format!("  {store}:\n    backend: {name}\n    {name}:\n");
    for (key, value) in block(kind, url) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "      {key}: \"{value}\"");
    }
    text
}

fn block(kind: Kind, url: &str) -> Vec<(&'static str, &str)> {
    match kind {
        Kind::Pg => vec![("dsn", url)],
        Kind::Mongo => vec![("uri", url), ("db", "syntrix")],
        Kind::Redis => vec![("addr", url)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(kind: Kind, url: &str) -> Server {
        Server { kind, pid: 1, url: url.into(), folder: "/tmp/x".into() }
    }

    #[test]
    fn each_server_has_its_variable() {
        let servers = [server(Kind::Pg, "postgres://a"), server(Kind::Redis, "redis://b")];
        let expected = "export SYNTRIX_STORAGE_TEST_PG='postgres://a'\n\
                        export SYNTRIX_STORAGE_TEST_REDIS='redis://b'\n";
        assert_eq!(exports(&servers), expected);
    }

    #[test]
    fn the_configurations_are_ones_that_the_program_takes() {
        let servers = Kind::ALL.map(|kind| server(kind, "redis://:p@127.0.0.1:1"));
        let mut texts = vec![example(&servers)];
        texts.extend(Kind::ALL.map(|kind| configuration(kind, "redis://:p@127.0.0.1:1")));
        assert!(texts[0].contains("  user:\n    backend: pg\n    pg:\n      dsn: \"redis://:p@"));
        assert!(texts[3].starts_with("storage:\n  revocation:\n    backend: redis\n"));
        assert!(!texts[3].contains("document"));
    }
}
