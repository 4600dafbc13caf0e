//! The strategies answer as the table in ARCHITECTURE.md says.

use std::collections::BTreeMap;

use syntrix_storage_core::Operation;
use syntrix_storage_routing::{DualWrite, ReadFrom, ReadReplica, RoutePlan, Single, Strategy};

const ARCHITECTURE: &str = include_str!("../../../ARCHITECTURE.md");
const READS: [ReadFrom; 3] = [ReadFrom::Primary, ReadFrom::Shadow, ReadFrom::Both];

/// The cells of the table's rows by operation: single, dual-write, read-replica.
fn table() -> BTreeMap<String, [String; 3]> {
    let (_, table) = ARCHITECTURE
        .split_once("## What a route does with each operation")
        .expect("the section is there");
    let (table, _) = table.split_once("\n## ").expect("a section behind it");
    table.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

fn row(line: &str) -> (String, [String; 3]) {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [operation, _, single, dual_write, read_replica] = cells[..] else {
        panic!("a row of five cells: {line}");
    };
    (operation.trim_matches('`').to_owned(), [single, dual_write, read_replica].map(str::to_owned))
}

/// What a cell says.
fn told(cell: &str, reads: ReadFrom, native: bool) -> RoutePlan {
    let by_reads = match reads {
        ReadFrom::Primary => RoutePlan::PRIMARY,
        ReadFrom::Shadow => RoutePlan::SHADOW,
        ReadFrom::Both => RoutePlan::COMPARED,
    };
    match cell {
        "primary" => RoutePlan::PRIMARY,
        "primary, mirrored" => RoutePlan::MIRRORED,
        "primary, mirrored unless native" if native => RoutePlan::PRIMARY,
        "primary, mirrored unless native" => RoutePlan::MIRRORED,
        "by `reads`" => by_reads,
        "by `reads`, never compared" => RoutePlan { compare: None, ..by_reads },
        other => panic!("the table says something new: {other}"),
    }
}

#[test]
fn every_strategy_answers_every_operation_as_the_table_says() {
    let table = table();
    assert_eq!(table.len(), Operation::ALL.len(), "one row per operation");
    for operation in Operation::ALL {
        let [single, dual_write, read_replica] = &table[operation.as_str()];
        assert_eq!(Single.plan(operation), told(single, ReadFrom::Primary, false), "{operation:?}");
        for reads in READS {
            let plan = DualWrite { reads }.plan(operation);
            assert_eq!(plan, told(dual_write, reads, false), "dual-write {reads:?} {operation:?}");
            for native in [false, true] {
                let plan = ReadReplica { reads, native }.plan(operation);
                let expected = told(read_replica, reads, native);
                assert_eq!(plan, expected, "read-replica {reads:?} {native} {operation:?}");
            }
        }
    }
}

#[test]
fn whatever_must_see_the_last_commit_is_asked_of_the_primary_alone() {
    let strategies: [Box<dyn Strategy>; 2] = [
        Box::new(DualWrite { reads: ReadFrom::Shadow }),
        Box::new(ReadReplica { reads: ReadFrom::Shadow, native: true }),
    ];
    for strategy in strategies {
        assert_eq!(strategy.plan(Operation::ReadStrong), RoutePlan::PRIMARY, "{strategy:?}");
    }
}
