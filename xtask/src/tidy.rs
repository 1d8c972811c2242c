//! The rules of the house that no other tool knows.
//!
//! Each rule is a pure function of what it looks at, returning what it found wrong, so that its
//! tests can hand it something wrong.

mod attacks;
mod crate_docs;
mod direction;
mod leaks;
mod length;
mod links;
mod lints;
mod names;
mod reasons;
mod tree;

use anyhow::bail;

use crate::workspace;

/// One thing wrong: where, what, and what to do.
type Finding = String;

/// Looks at everything; all that is wrong is shown before it fails.
pub(crate) fn run() -> anyhow::Result<()> {
    let packages = workspace::packages()?;
    let files = tree::read(workspace::root())?;
    let rules: [(&str, Vec<Finding>); 9] = [
        ("direction", direction::check(&packages)),
        ("length", length::check(&files)),
        ("crate docs", crate_docs::check(&crate_docs::roots(&packages, &files))),
        ("lints", lints::check(&lints::manifests(&packages, &files))),
        ("names", names::check(&files)),
        ("leaks", leaks::check(&files, &leaks::Machine::this())),
        ("links", links::check(&files)),
        ("attacks", attacks::check(&files)),
        ("reasons", reasons::check(&files)),
    ];
    let mut found = 0;
    for (rule, findings) in &rules {
        println!("{rule:<12} {}", if findings.is_empty() { "ok" } else { "FAILED" });
        findings.iter().for_each(|finding| println!("  {finding}"));
        found += findings.len();
    }
    if found > 0 {
        bail!("{found} findings; see above");
    }
    Ok(())
}
