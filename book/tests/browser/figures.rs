//! The interactive figures as a reader meets them: by keyboard, with and without JavaScript.
//!
//! Whether a figure tells the truth about the kernel is asked elsewhere, in `tests/figures`.

use serde_json::{Value, json};

use crate::World;
use crate::chromium::{Chromium, Result};
use crate::tests::{Test, check};

/// All of them.
pub const ALL: &[(&str, Test)] = &[
    ("a_figure_begins_as_it_is_without_javascript", begins_as_without),
    ("every_stepper_has_a_last_step", steppers_end),
    ("the_quota_throttles_and_frees", quota),
    ("the_overlay_copies_up_whites_out_and_makes_opaque", overlay),
    ("a_capability_lights_its_doors_and_a_door_its_capabilities", capabilities),
];

/// The figures that a script redraws.
const REDRAWN: [&str; 3] = ["quota", "overlay", "capabilities"];

fn begins_as_without(world: &mut World) -> Result<()> {
    let page = world.figures();
    let browser = world.browser()?;
    for name in REDRAWN {
        // Blanks between elements do not show.
        let look =
            format!("document.querySelector('#figure-{name} svg')?.outerHTML.replace(/>\\s+</g, '><')");
        browser.open(&page)?;
        let with = browser.evaluate(&look)?;
        let without = without_javascript(browser, &page, &look)?;
        check(with.is_string() && with == without, || format!("{name} with: {with}\nwithout: {without}"))?;
    }
    Ok(())
}

/// What `expression` says when the page's own scripts do not run.
fn without_javascript(browser: &mut Chromium, page: &str, expression: &str) -> Result<Value> {
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }))?;
    let seen = browser
        .call("Page.navigate", json!({ "url": page }))
        .and_then(|_| {
            browser.until(
                "document.readyState === 'complete' && document.querySelector('.figure') !== null && !document.documentElement.classList.contains('js')",
            )
        })
        .and_then(|()| browser.evaluate(expression));
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": false }))?;
    seen
}

fn steppers_end(world: &mut World) -> Result<()> {
    let page = world.figures();
    let browser = world.browser()?;
    browser.open(&page)?;
    let steppers = browser.evaluate("[...document.querySelectorAll('.stepper')].map(figure => figure.id)")?;
    let steppers: Vec<&str> = steppers.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    check(steppers.len() >= 4, || format!("only {} steppers", steppers.len()))?;
    for id in steppers {
        let steps = browser.evaluate(&format!("document.querySelectorAll('#{id} .steps > li').length"))?;
        browser
            .evaluate(&format!("document.querySelectorAll('#{id} .stepper-controls button')[1].focus()"))?;
        for _ in 0..steps.as_u64().unwrap_or(0) {
            browser.press("ArrowRight")?;
        }
        browser.until(&format!(
            "document.querySelector('#{id} .stepper-controls span').textContent === 'Step {steps} of {steps}' && \
             !document.querySelector('#{id} .later') && \
             document.querySelector('#{id} .steps > li:last-child').checkVisibility()"
        ))?;
    }
    stays(browser, &page)
}

/// No arrow key turned the page.
fn stays(browser: &mut Chromium, page: &str) -> Result<()> {
    let here = browser.evaluate("location.href")?;
    check(here == page, || format!("a key turned the page to {here}"))
}

fn quota(world: &mut World) -> Result<()> {
    let page = world.figures();
    let browser = world.browser()?;
    browser.open(&page)?;
    let drawn = "document.querySelector('#figure-quota-picture').textContent";
    let said = "document.querySelector('#figure-quota .figure-words').textContent";
    let throttled = "document.querySelectorAll('#figure-quota-picture .fig-wrong').length";
    browser.until(&format!("{drawn}.includes('cpu.max  50000 100000') && {throttled} === 11"))?;
    browser
        .until(&format!("{said}.includes('runs 25 ms on each of 2 CPUs, then is throttled for 75 ms')"))?;
    slide(browser, "threads", "ArrowLeft", 1)?;
    browser.until(&format!("{said}.includes('runs 50 ms on one CPU, then is throttled for 50 ms')"))?;
    slide(browser, "demand", "ArrowLeft", 5)?;
    browser.until(&format!("{said}.includes('the quota is never reached') && {throttled} === 1"))?;
    slide(browser, "quota", "ArrowRight", 10)?;
    browser.until(&format!("{drawn}.includes('--cpus 1') && {drawn}.includes('cpu.max  100000 100000')"))?;
    slide(browser, "period", "ArrowLeft", 5)?;
    browser.until(&format!("{drawn}.includes('cpu.max  100000 50000') && {drawn}.includes('nr_periods')"))?;
    stays(browser, &page)
}

fn slide(browser: &mut Chromium, name: &str, key: &str, times: usize) -> Result<()> {
    browser.evaluate(&format!("document.querySelector('[data-quota={name}]').focus()"))?;
    (0..times).try_for_each(|_| browser.press(key))
}

fn overlay(world: &mut World) -> Result<()> {
    let page = world.figures();
    let browser = world.browser()?;
    browser.open(&page)?;
    let drawn = "document.querySelector('#figure-overlay-picture').textContent";
    let said = "document.querySelector('#figure-overlay .figure-words').textContent";
    browser.evaluate("document.querySelector('[data-overlay=path]').focus()")?;
    // motd, log, new, docs
    for _ in 0..3 {
        browser.press("ArrowRight")?;
    }
    browser.until("document.querySelector('[data-overlay=path]').value === 'docs'")?;
    for (button, words, mark) in [
        ("rename", "EXDEV", ""),
        ("remove", "a whiteout, a character device 0/0", "whiteout c 0/0"),
        ("mkdir", "It is marked opaque", "opaque"),
        ("rename", "A whiteout takes its old place", "whiteout c 0/0"),
    ] {
        browser.evaluate(&format!("document.querySelector('[data-overlay={button}]').focus()"))?;
        browser.press("Enter")?;
        browser.until(&format!("{said}.includes('{words}') && {drawn}.includes('{mark}')"))?;
    }
    browser.evaluate("document.querySelector('[data-overlay=again]').click()")?;
    browser.until(&format!("!{drawn}.includes('whiteout')"))?;
    browser.evaluate("document.querySelector('[data-overlay=append]').click()")?;
    browser.until(&format!("{said}.includes('ENOENT') || {said}.includes('EISDIR')"))?;
    stays(browser, &page)
}

fn capabilities(world: &mut World) -> Result<()> {
    let page = world.figures();
    let browser = world.browser()?;
    browser.open(&page)?;
    let lit = |kind: &str| {
        format!(
            "[...document.querySelectorAll('#figure-capabilities [data-{kind}]:not(.fig-dim)')].map(g => g.dataset.{kind}).join()"
        )
    };
    let said = "document.querySelector('#figure-capabilities .figure-words').textContent";
    let lines = "document.querySelectorAll('#figure-capabilities path.fig-accent').length";
    browser.evaluate("document.querySelector('[data-choose=capability]').focus()")?;
    browser.press("ArrowRight")?;
    browser.press("ArrowRight")?;
    browser.until(&format!("{} === 'write,read' && {lines} === 2", lit("door")))?;
    browser.until(&format!("{said}.endsWith('Docker gives it.')"))?;
    browser.evaluate("document.querySelector('[data-choose=door]').focus()")?;
    for _ in 0..3 {
        browser.press("ArrowRight")?;
    }
    browser.until(&format!("{} === 'DAC_OVERRIDE,DAC_READ_SEARCH' && {lines} === 2", lit("capability")))?;
    browser.evaluate("document.querySelector('[data-door=mount] text').dispatchEvent(new MouseEvent('click', { bubbles: true }))")?;
    browser
        .until(&format!("{} === 'SYS_ADMIN' && {said}.includes('closed under Docker')", lit("capability")))?;
    stays(browser, &page)
}
