//! Configurations that are right or wrong, for the parser and the schema alike.

/// Section 5 of the requirement, letter by letter.
pub(crate) const REQUIREMENT: &str = r#"storage:
  document:
    backend: mongo
    mongo:
      uri: ...
      db: ...
      dataCollection: ...
      sysCollection: ...
      softDeleteRetention: ...
  user:
    backend: pg
    pg:
      dsn: ...
  revocation:
    backend: redis
    redis:
      addr: ...
      db: 0
      prefix: syntrix:rev
  routing:
    document:
      strategy: single        # single | dual-write | read-replica
      primary: mongo
      shadow: pg-doc          # optional (for migration)
      reads: primary          # primary | shadow | both
      writes: primary         # primary | both
    user:
      strategy: single
      primary: pg
    revocation:
      strategy: single
      primary: redis
"#;

/// Two blocks for documents, and the routing to complete.
pub(crate) fn routed(routing: &str) -> String {
    format!(
        "storage:\n  document:\n    backend: mongo\n    mongo: {{uri: u, db: d}}\n    \
         pg-doc: {{kind: pg, dsn: d}}\n  routing:\n    document: {{{routing}}}\n"
    )
}

/// A document section with one `pg` block.
pub(crate) fn postgres(settings: &str) -> String {
    format!("storage:\n  document:\n    backend: pg\n    pg: {{{settings}}}\n")
}

pub(crate) fn accepted() -> Vec<String> {
    let mut texts = vec![
        crate::EXAMPLE.to_owned(),
        "storage:\n".into(),
        "storage: {}\n".into(),
        "storage:\n  user:\n    backend: memory\n    memory:\n".into(),
        "storage:\n  user:\n    backend: memory\n    memory: {}\n  routing:\n    user:\n".into(),
        "storage:\n  user:\n    backend: a\n    a: {kind: memory}\n    pg: {kind: sqlite, path: x}\n".into(),
        "storage:\n  user:\n    memory: {}\n  routing: {user: {primary: memory}}\n".into(),
        "storage:\n  user:\n    backend: sqlite\n    sqlite: {synchronous: full}\n".into(),
    ];
    texts.extend(
        [
            "dsn: x",
            "dsn: \"${DSN}\"",
            "dsn: \"postgres://u:${PASSWORD}@h/db\"",
            "dsn: {file: secret}",
            "dsn: x, poolConnectionsMax: 10, acquireTimeout: 250ms, tls: true",
            "dsn: x, poolConnectionsMax: \"${NUMBER}\", tls: \"${FLAG}\", acquireTimeout: \"${DURATION}\"",
            "dsn: x, kind: pg",
            "dsn: x, poolConnectionsMax: null",
        ]
        .map(postgres),
    );
    texts.extend(
        [
            "",
            "strategy: single",
            "strategy: single, shadow: pg-doc",
            "strategy: single, shadow: nothing",
            "primary: pg-doc",
            "strategy: dual-write, shadow: pg-doc",
            "strategy: dual-write, shadow: pg-doc, writes: both, reads: primary, mirror: wait",
            "strategy: dual-write, shadow: pg-doc, reads: both, mirror: background",
            "strategy: dual-write, shadow: pg-doc, reads: shadow",
            "strategy: read-replica, shadow: pg-doc",
            "strategy: read-replica, shadow: pg-doc, reads: both, writes: primary",
            "strategy: read-replica, primary: pg-doc, shadow: mongo, reads: shadow",
            "strategy: \"${STRATEGY}\", shadow: pg-doc",
        ]
        .map(routed),
    );
    texts.extend(
        [
            "strategy: dual-write, shadow: other",
            "strategy: dual-write, shadow: other, reads: primary",
        ]
        .map(routed_user),
    );
    texts
}

/// Wrong in a way that a schema can say.
pub(crate) fn refused() -> Vec<String> {
    let mut texts: Vec<String> = [
        "x: 1\n",
        "{}\n",
        "storage: x\n",
        "storage: {}\nother: {}\n",
        "storage: {documents: {backend: memory, memory: {}}}\n",
        "storage: {user: x}\n",
        "storage: {user: }\n",
        "storage: {user: {memory: {}}}\n",
        "storage: {user: {memory: {}}, routing: {user: {strategy: single}}}\n",
        "storage: {user: {backend: 1, memory: {}}}\n",
        "storage: {user: {backend: memory, memory: x}}\n",
        "storage: {user: {backend: x, x: {kind: oracle}}}\n",
        "storage: {user: {backend: x, x: {kind: MEMORY}}}\n",
        "storage: {user: {backend: x, x: {}}}\n",
        "storage: {user: {backend: x, x: {kind: [memory]}}}\n",
        "storage: {user: {backend: pg, pg: {kind: memory, dsn: x}}}\n",
        "storage: {user: {backend: memory, memory: {path: x}}}\n",
        "storage: {user: {backend: sqlite, sqlite: {synchronous: hunter2}}}\n",
        "storage: {user: {backend: mongo, mongo: {uri: u, db: d}}}\n",
        "storage: {document: {backend: redis, redis: {addr: x}}}\n",
        "storage: {document: {backend: r, r: {kind: redis, addr: x}}}\n",
        "storage: {revocation: {backend: redis, redis: {addr: x, db: 70000}}}\n",
        "storage: {revocation: {backend: redis, redis: {addr: x, db: -1}}}\n",
        "storage: {revocation: {backend: redis, redis: {addr: x, db: 1.5}}}\n",
        "storage: {routing: {user: {strategy: single}}}\n",
        "storage: {routing: {users: {strategy: single}}}\n",
        "storage: {routing: x}\n",
    ]
    .map(str::to_owned)
    .into();
    texts.extend(
        [
            "",
            "dns: x",
            "dsn: x, replica: y",
            "dsn: 1",
            "dsn: ",
            "dsn: [x]",
            "dsn: {file: x, mode: y}",
            "dsn: {file: 1}",
            "dsn: x, poolConnectionsMax: many",
            "dsn: x, poolConnectionsMax: 5000000000",
            "dsn: x, poolConnectionsMax: -1",
            "dsn: x, acquireTimeout: 5",
            "dsn: x, acquireTimeout: 5 s",
            "dsn: x, tls: yes",
            "dsn: x, tls: \"true\"",
        ]
        .map(postgres),
    );
    texts.extend(
        [
            "strategy: dual",
            "strategy: Single",
            "stratgy: single",
            "strategy: [single]",
            "reads: shadow",
            "reads: both",
            "writes: both",
            "mirror: wait",
            "strategy: single, reads: shadow",
            "strategy: single, writes: both",
            "strategy: dual-write",
            "strategy: dual-write, shadow: pg-doc, writes: primary",
            "strategy: dual-write, shadow: pg-doc, mirror: later",
            "strategy: read-replica",
            "strategy: read-replica, shadow: pg-doc, reads: primary",
            "strategy: read-replica, shadow: pg-doc, writes: both",
            "strategy: read-replica, shadow: pg-doc, mirror: wait",
            "primary: 1",
        ]
        .map(routed),
    );
    texts.extend(
        [
            "strategy: dual-write, shadow: other, reads: shadow",
            "strategy: dual-write, shadow: other, reads: both",
            "strategy: read-replica, shadow: other",
        ]
        .map(routed_user),
    );
    texts
}

/// Wrong in a way that only the parser sees.
pub(crate) fn refused_by_parser_only() -> Vec<String> {
    let mut texts = vec![
        "storage: {user: {backend: x, memory: {}}}\n".to_owned(),
        "storage: {user: {backend: memory}}\n".into(),
        "storage: {user: {backend: memory, memory: {}, sqlite: {path: ../x}}}\n".into(),
        "storage: {user: {backend: memory, memory: {}, memory: {}}}\n".into(),
        postgres("dsn: \"${MISSING}\""),
        postgres("dsn: {file: missing}"),
        postgres("dsn: x, poolConnectionsMax: \"${DSN}\""),
    ];
    texts.extend(
        [
            "primary: nothing",
            "strategy: dual-write, shadow: nothing",
            "strategy: dual-write, shadow: mongo",
            "strategy: read-replica, shadow: mongo",
            "strategy: \"${DSN}\"",
        ]
        .map(routed),
    );
    texts
}

/// Accounts with a second block and these keys of their routing.
pub(crate) fn routed_user(keys: &str) -> String {
    format!(
        "storage:\n  user:\n    backend: main\n    main: {{kind: sqlite, path: a.db}}\n    other: {{kind: sqlite, path: b.db}}\n  \
         routing:\n    user: {{{keys}}}\n"
    )
}
