//! The text of `config example`.

/// A commented configuration to start from: documents in an SQLite file. It passes
/// [`check`](crate::check) where the kind `sqlite` is registered.
pub const EXAMPLE: &str = r#"# Configuration of syntrix-storage.
#
# A value may come from the environment, ${NAME}, or from a file that only its
# owner can read, {file: path}. Durations: 30d, 720h, 15m, 10s, 250ms.
# A store without a section is absent.
storage:
  document:
    backend: sqlite             # the block to use
    sqlite:                     # a block: its name is its kind, unless it says `kind`
      path: storage.db          # absolute, or inside the data directory
#   pg:
#     dsn: ${DATABASE_URL}

# Accounts and revoked tokens: no backend of this release offers them yet.
#   user:
#     backend: sqlite
#     sqlite:
#       path: storage.db          # the same file: both stores share its connections
#
#   revocation:
#     backend: sqlite
#     sqlite:
#       path: storage.db

  routing:
    document:
      strategy: single          # single | dual-write | read-replica
      primary: sqlite           # default: the section's backend
#     shadow: pg                # the second block of dual-write and read-replica
      reads: primary            # single: primary; dual-write: primary | both | shadow;
                                # read-replica: shadow | both
      writes: primary           # dual-write: both; else primary
#     mirror: background        # dual-write: background | wait
"#;
