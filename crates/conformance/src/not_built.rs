//! Cases of the catalogue that this release does not have, each with the reason.

/// A case of the catalogue without a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBuilt {
    /// As in the catalogue.
    pub id: &'static str,
    /// Why there is no check.
    pub reason: &'static str,
}

const fn not_built(id: &'static str, reason: &'static str) -> NotBuilt {
    NotBuilt { id, reason }
}

const NO_ARRAY_OPERATORS: &str = "patches have no array operators: an array is set as a whole";
const NO_ETAGS: &str =
    "there are no etags: the version is the guard, and a filter is checked when it is made";
const NO_INCREMENTS: &str = "patches have no increments: PAT-30 counts with a version check";

const NO_LENIENT_MODE: &str = "the index rule has no lenient mode: a missing index is an error";
const NO_TRANSACTIONS: &str = "there are no transactions over several documents";
const NO_TTL: &str = "documents have no time to live";
const NO_FAULTS: &str =
    "a harness cannot make a backend fail: tests with a fault wrapper around it do";
const BETWEEN_THE_SIDES: &str =
    "a harness cannot fail or freeze one side of a route: tests with a fault between both do";
const NO_NATIVE_REPLICA: &str =
    "a harness cannot hold up a database's own replicas: tests with servers of their own do";
const NO_CONNECTION_COUNT: &str = "a harness cannot count a server's connections";
const ENGINE_OBSERVED: &str =
    "spans and metrics are those of the engine, whose own tests read them";
const SUITE_ITSELF: &str = "about this suite and not about a store: its own tests check it";
const NO_RAW_WRITES: &str = "a harness cannot write damaged rows; the backends' own tests do";

/// Every case of the catalogue that is not in [`cases`](crate::cases()).
pub const NOT_BUILT: &[NotBuilt] = &[
    // DOC PRE PAT QRY ORD PAG
    not_built("DOC-22", "a JSON value cannot hold NaN or an infinity, so no call can bring one"),
    not_built("DOC-38", "create takes its data by value: nobody is left who could change it"),
    not_built("DOC-42", "there are no binary values: JSON has none"),
    not_built("PRE-14", NO_ETAGS),
    not_built("PRE-18", NO_ETAGS),
    not_built("PRE-19", NO_ETAGS),
    not_built("PRE-20", "every backend takes every condition: they are evaluated above it"),
    not_built("PAT-12", NO_INCREMENTS),
    not_built("PAT-14", NO_INCREMENTS),
    not_built("PAT-15", NO_INCREMENTS),
    not_built("PAT-16", NO_INCREMENTS),
    not_built("PAT-17", NO_ARRAY_OPERATORS),
    not_built("PAT-18", NO_ARRAY_OPERATORS),
    not_built("PAT-19", NO_ARRAY_OPERATORS),
    not_built("PAT-20", NO_ARRAY_OPERATORS),
    not_built("PAT-21", NO_ARRAY_OPERATORS),
    not_built("PAT-31", NO_ARRAY_OPERATORS),
    not_built("QRY-11", "there is no not-in: several `!=` say the same"),
    not_built("QRY-13", "there is no contains-any: one query per value says the same"),
    not_built("QRY-19", "filters are joined by and only: there is no or and no not"),
    not_built("QRY-22", "there is no prefix operator: two ranges say the same"),
    not_built("QRY-25", "there is no projection: a document comes whole, decoded on demand"),
    not_built("QRY-31", "a harness cannot make a driver fail in the middle of a result"),
    not_built("QRY-33", "there is no count"),
    not_built("ORD-15", "a rule for this suite, not for a store: sets are compared as sets"),
    not_built("PAG-18", "pages go forward only: the reversed order goes back"),
    // IDX WAT RES SDL REG RTE CLS USR REV CON BAD OBS
    not_built("IDX-08", NO_LENIENT_MODE),
    not_built("IDX-09", NO_LENIENT_MODE),
    not_built(
        "IDX-12",
        "a harness cannot take the right to create indexes away from a backend's account",
    ),
    not_built("WAT-19", NO_TRANSACTIONS),
    not_built("WAT-22", NO_TTL),
    not_built("WAT-25", NO_FAULTS),
    not_built(
        "RES-10",
        "a harness cannot restore a backend from a backup; the backends' own tests do",
    ),
    not_built("RES-14", NO_TRANSACTIONS),
    not_built("RES-15", "a harness cannot fail over to a standby"),
    not_built("RES-18", "there is no pull-style feed: a watch is a stream with bookmarks"),
    not_built("SDL-13", NO_TTL),
    not_built("SDL-14", NO_TTL),
    not_built("SDL-15", NO_TTL),
    not_built("SDL-16", NO_TTL),
    not_built("SDL-17", NO_TTL),
    not_built(
        "SDL-18",
        "there is no deletion of a whole database: a namespace is removed by its backend",
    ),
    not_built(
        "REG-02",
        "factories are registered in code, not in a configuration; the registry's own tests do",
    ),
    not_built("REG-08", "a harness cannot count the operations of each of several databases"),
    not_built("REG-09", NO_CONNECTION_COUNT),
    not_built("REG-10", NO_CONNECTION_COUNT),
    not_built(
        "REG-13",
        "the schema is the registry's, and so are the tests that it equals the parser",
    ),
    not_built("REG-14", "an effective configuration is not written out"),
    not_built("REG-15", NO_FAULTS),
    not_built("REG-16", NO_FAULTS),
    not_built(
        "REG-17",
        "a third party's factory is code outside of a configuration; an example has one",
    ),
    not_built(
        "REG-22",
        "a harness cannot write another format version into a store; the backends' own tests do",
    ),
    not_built("RTE-01", "a route to one database alone is what the rest of the suite runs on"),
    not_built("RTE-04", BETWEEN_THE_SIDES),
    not_built("RTE-06", BETWEEN_THE_SIDES),
    not_built("RTE-10", BETWEEN_THE_SIDES),
    not_built("RTE-11", "a shadow that cannot hold the store is a backend of a test's own"),
    not_built("RTE-12", "a comparison's findings are metrics and log lines, which tests read"),
    not_built("RTE-13", "a comparison's findings are metrics and log lines, which tests read"),
    not_built("RTE-15", "a harness cannot kill the process that it is a part of"),
    not_built("RTE-17", "no route changes its primary under a running service in this release"),
    not_built("RTE-20", NO_NATIVE_REPLICA),
    not_built("RTE-21", BETWEEN_THE_SIDES),
    not_built("RTE-22", NO_NATIVE_REPLICA),
    not_built("RTE-23", BETWEEN_THE_SIDES),
    not_built("RTE-25", NO_NATIVE_REPLICA),
    not_built("RTE-26", "a store is routed as a whole: there are no rules by collection"),
    not_built("CLS-06", NO_CONNECTION_COUNT),
    not_built("CLS-08", "what runs in the background cannot be seen through the public traits"),
    not_built("CLS-10", NO_FAULTS),
    not_built("CLS-13", "one store is under test: a dual write has cases of its own"),
    not_built("USR-17", "USR-11 covers every call that names an account"),
    not_built(
        "REV-21",
        "ids in logs are looked for by the engine's own tests, which can read them",
    ),
    not_built("REV-22", "a harness cannot count the operations of a database"),
    not_built("REV-25", "no backend of this release evicts"),
    not_built("CON-07", "the readers of CON-06 watch their versions, too"),
    not_built("CON-09", NO_FAULTS),
    not_built("CON-10", NO_FAULTS),
    not_built("CON-13", NO_FAULTS),
    not_built("CON-14", NO_FAULTS),
    not_built("CON-15", NO_FAULTS),
    not_built("CON-16", "no backend of this release has a pool of connections to a server"),
    not_built("CON-17", NO_TRANSACTIONS),
    not_built("CON-20", NO_FAULTS),
    not_built("CON-21", "one process runs the suite: the soak kills several that share a file"),
    not_built("CON-22", NO_FAULTS),
    not_built(
        "BAD-08",
        "the traits take parsed values: the caller's parser decides between equal keys",
    ),
    not_built("BAD-11", NO_RAW_WRITES),
    not_built("BAD-12", NO_RAW_WRITES),
    not_built(
        "BAD-14",
        "no case by itself: every case names the kind it expects, so another kind fails it",
    ),
    not_built("BAD-15", NO_FAULTS),
    not_built("OBS-01", ENGINE_OBSERVED),
    not_built("OBS-02", ENGINE_OBSERVED),
    not_built("OBS-03", "the engine is the one wrapper, and the whole suite runs over it"),
    not_built("OBS-06", SUITE_ITSELF),
    not_built("OBS-08", SUITE_ITSELF),
    not_built("OBS-09", SUITE_ITSELF),
    not_built("OBS-10", SUITE_ITSELF),
    not_built("OBS-11", SUITE_ITSELF),
];
