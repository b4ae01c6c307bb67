//! stub
use super::{Exit, Global, Screen};
#[derive(Debug, clap::Args)]
pub struct ScanArgs {}
pub fn run(_: &Global, _: &ScanArgs, _: &mut Screen) -> anyhow::Result<Exit> {
    anyhow::bail!("not yet")
}
