use crate::program::Program;

#[test]
fn the_demo_keeps_its_claims_and_can_be_run_again() {
    let program = Program::new();
    let shown = program.run(&["demo"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    for told in
        ["57025 documents", "index_required", "claims checked, all hold", "© GeoNames, CC BY 4.0"]
    {
        assert!(shown.stdout.contains(told), "{told}: {}", shown.stdout);
    }
    assert_eq!(program.lines(&["doc", "get", "countries/AD/cities/1"])[0]["name"], "Vila");

    program.lines(&["doc", "create", "left/over", "{}"]);
    let again = program.run(&["demo", "--output", "json"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(again.json_lines()[0]["step"], "import");
    assert_eq!(program.run(&["doc", "get", "left/over"]).code, 1);
}

#[test]
fn the_demo_leaves_other_data_alone() {
    let program = Program::new();
    program.lines(&["doc", "create", "c/x", "{}"]);
    let refused = program.run(&["demo"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("--data-dir"), "{}", refused.stderr);
    assert_eq!(program.run(&["doc", "get", "c/x"]).code, 0);
    let config = program.file("storage.yaml", "storage: {}\n");
    assert_eq!(program.run(&["demo", "--config", &config]).code, 2);
}
