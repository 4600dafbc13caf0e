//! Configurations.

use syntrix_storage::StorageConfig;

use crate::Target;

const EVERYTHING: &str = r#"storage:
  document:
    strategy: single
    primary: main
    reads: primary
    writes: primary
    main: {kind: sqlite, path: storage.db, softDeleteRetention: 30d, watchRetention: 72h, busyTimeout: 5s}
  user:
    backend: sqlite
    sqlite: {}
  revocation: &shared
    backend: memory
    memory: {}
"#;

const SERVERS: &str = r#"storage:
  document:
    backend: mongo
    mongo:
      uri: "mongodb://localhost:27017"
      databaseName: app
  user: {backend: pg, pg: {dsn: "${PG_DSN}"}}
  revocation: {backend: redis, redis: {addr: 'localhost:6379', password: {file: /nowhere}}}
"#;

pub(crate) struct ConfigText;

impl Target for ConfigText {
    fn name(&self) -> &'static str {
        "config"
    }

    fn corpus(&self) -> Vec<String> {
        vec![EVERYTHING.to_owned(), SERVERS.to_owned(), "storage: {}\n".to_owned()]
    }

    fn read(&self, input: &str) {
        match StorageConfig::from_yaml(input, "fuzz.yaml").check() {
            Ok(report) => drop(report.warnings),
            Err(error) => drop(error.to_string()),
        }
    }
}
