//! A figure's script in a headless Chromium, without a page: only its rule is called.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::chromium::Chromium;
use crate::place::Skip;

/// One figure's script, loaded.
pub struct Script {
    browser: Chromium,
    name: &'static str,
}

impl Script {
    /// Loads `book/theme/NAME.js`.
    ///
    /// # Errors
    /// There is no Chromium, or the script fails.
    pub fn load(name: &'static str) -> Result<Script> {
        let Some(program) = book::pdf::chromium() else {
            return Err(Skip::Avoidable("there is no Chromium: `apt install chromium`".to_owned()).into());
        };
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("theme").join(name).with_extension("js");
        let source = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let browser = Chromium::start(&program, &scratch()?).map_err(|error| anyhow!(error))?;
        let mut script = Script { browser, name };
        script.evaluate(&source)?;
        Ok(script)
    }

    /// The value of `figures.NAME.MEMBER`.
    ///
    /// # Errors
    /// The script has no such member.
    pub fn value(&mut self, member: &str) -> Result<Value> {
        self.evaluate(&format!("figures.{}.{member}", self.name))
    }

    /// What `figures.NAME.FUNCTION` returns for `argument`.
    ///
    /// # Errors
    /// The function throws.
    pub fn call(&mut self, function: &str, argument: &Value) -> Result<Value> {
        self.evaluate(&format!("figures.{}.{function}({argument})", self.name))
    }

    fn evaluate(&mut self, expression: &str) -> Result<Value> {
        self.browser.evaluate(expression).map_err(|error| anyhow!(error))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.browser.stop();
    }
}

/// Where these tests keep what they need.
pub fn scratch() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate stands in the workspace")?;
    let folder = root.join("target/gantry/tests/figures");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}
