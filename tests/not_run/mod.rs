//! How a test says that it could not run here: a test that cannot run is not
//! a test that passed. `./test` repeats what was said at its end.

use std::io::Write;

/// Says loudly that a test could not run here, and why.
pub fn not_run(test: &str, why: &str) {
    eprintln!("NOT RUN: {test}: {why}");
    if let Some(list) = std::env::var_os("FAULTLINE_NOT_RUN") {
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(list)
            .expect("the list of what did not run can be written");
        writeln!(file, "{test}: {why}").expect("it can be written");
    }
}
