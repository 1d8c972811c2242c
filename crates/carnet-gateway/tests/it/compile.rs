//! What does not compile: ways around the phases.

#[test]
fn no_way_around_the_phases_compiles() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/no/*.rs");
}
