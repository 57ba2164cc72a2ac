//! The tests themselves, each named for what it claims.

use serde_json::json;

use crate::chromium::{Chromium, Result};
use crate::{World, axe, common};

/// A test.
pub type Test = fn(&mut World) -> Result<()>;

/// All of them.
pub const ALL: &[(&str, Test)] = &[
    ("every_page_loads_without_an_error_and_asks_nobody", every_page_loads),
    ("search_finds_a_word", search_finds_a_word),
    ("the_theme_switches_and_is_remembered", theme_switches),
    ("only_light_navy_and_auto_are_offered", three_themes),
    ("tab_reaches_everything_that_can_be_used", tab_reaches_everything),
    ("the_sidebar_opens_and_closes_by_keyboard", sidebar_by_keyboard),
    ("a_quiz_answers_and_remembers", quiz_answers),
    ("a_stepper_steps_and_does_not_turn_the_page", stepper_steps),
    ("the_ruler_moves_the_map", ruler_moves),
    ("without_javascript_every_step_and_answer_is_there", without_javascript),
    ("a_ticked_exercise_stays_ticked_and_is_counted", exercise_tick),
    ("the_start_page_leads_back", resume),
    ("nothing_scrolls_sideways_at_390_pixels", no_sideways_scroll),
    ("on_paper_nothing_is_folded", paper),
    ("axe_finds_nothing_in_the_light_theme", axe_light),
    ("axe_finds_nothing_in_the_navy_theme", axe_navy),
    ("axe_finds_nothing_at_390_pixels", axe_narrow),
];

/// Opens everything that is folded.
const UNFOLD: &str = "for (const part of document.querySelectorAll('main details')) part.open = true";

/// Fails with the words of `otherwise` unless `holds`.
pub fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn every_page_loads(world: &mut World) -> Result<()> {
    let pages = world.pages();
    let browser = world.browser()?;
    for page in &pages {
        browser.open(page)?;
        let complaints = browser.complaints();
        check(complaints.is_empty(), || format!("{page}: {}", complaints.join("\n")))?;
    }
    check(pages.len() >= 6, || format!("only {} pages", pages.len()))
}

fn search_finds_a_word(world: &mut World) -> Result<()> {
    let page = world.chapter();
    search(world.browser()?, &page)
}

/// Opens `page` and searches for a word of the demo, by keyboard.
fn search(browser: &mut Chromium, page: &str) -> Result<()> {
    browser.open(page)?;
    browser.press("/")?;
    browser.until("document.activeElement.id === 'mdbook-searchbar'")?;
    browser.type_text("orphan")?;
    browser.evaluate("document.activeElement.dispatchEvent(new KeyboardEvent('keyup', { key: 'n' }))")?;
    browser
        .until("document.querySelector('#mdbook-searchresults a')?.href.includes('01-harbour.html') === true")
}

fn theme_switches(world: &mut World) -> Result<()> {
    let page = world.chapter();
    let browser = world.browser()?;
    browser.open(&page)?;
    let background = "getComputedStyle(document.documentElement).backgroundColor";
    let light = browser.evaluate(background)?;
    browser.evaluate("document.getElementById('mdbook-theme-toggle').click()")?;
    browser.evaluate("document.getElementById('mdbook-theme-navy').click()")?;
    let navy = browser.evaluate(background)?;
    check(light != navy, || format!("both themes are {light}"))?;
    browser.open(&page)?;
    let again = browser.evaluate(background)?;
    check(navy == again, || format!("{navy} became {again}"))?;
    browser.evaluate("document.getElementById('mdbook-theme-default_theme').click()")?;
    let auto = browser.evaluate(background)?;
    check(light == auto, || format!("auto is {auto}"))
}

fn three_themes(world: &mut World) -> Result<()> {
    let page = world.chapter();
    let browser = world.browser()?;
    browser.open(&page)?;
    let names = browser.evaluate("[...document.querySelectorAll('button.theme')].map(b => b.textContent)")?;
    check(names == json!(["Auto", "Light", "Navy"]), || names.to_string())
}

/// Presses Tab until the focus comes round, and notes what it met.
fn walk(browser: &mut Chromium) -> Result<Vec<String>> {
    let what = "(() => { const e = document.activeElement; return [e.tagName, e.id, e.className, \
                e.closest('#mdbook-sidebar') ? 'in-sidebar' : '', e.parentElement?.className ?? '', \
                e.dataset.tick ? 'tick' : ''].join(' ') })()";
    let mut met = Vec::new();
    for _ in 0..200 {
        browser.press("Tab")?;
        let now = browser.evaluate(what)?.as_str().unwrap_or_default().to_owned();
        if now.starts_with("BODY") {
            break;
        }
        met.push(now);
    }
    Ok(met)
}

fn tab_reaches_everything(world: &mut World) -> Result<()> {
    let page = world.chapter();
    let browser = world.browser()?;
    browser.open(&page)?;
    let met = walk(browser)?;
    for wanted in [
        "mdbook-sidebar-toggle",
        "mdbook-theme-toggle",
        "mdbook-search-toggle",
        "in-sidebar",
        "stepper-controls",
        "SUMMARY   hint",
        "SUMMARY   solution",
        "SUMMARY   answer",
        "SUMMARY   aside",
        "SUMMARY   instructor",
        "quiet-button copy",
        "tick",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let there = met.iter().any(|met| squeezed(met).contains(&squeezed(wanted)));
        check(there, || format!("Tab never reaches `{wanted}`; it meets:\n{}", met.join("\n")))?;
    }
    browser.evaluate("document.querySelector('.hint summary').focus()")?;
    browser.press("Enter")?;
    browser.until("document.querySelector('.hint').open")
}

fn sidebar_by_keyboard(world: &mut World) -> Result<()> {
    let page = world.chapter();
    let browser = world.browser()?;
    browser.open(&page)?;
    let visible = "document.documentElement.classList.contains('sidebar-visible')";
    let before = browser.evaluate(visible)?;
    browser.evaluate("document.getElementById('mdbook-sidebar-toggle').focus()")?;
    browser.press("Enter")?;
    browser.until(&format!("{visible} !== {before}"))?;
    let expanded = "document.getElementById('mdbook-sidebar-toggle').getAttribute('aria-expanded')";
    let says = browser.evaluate(expanded)?;
    check(says == before.as_bool().map_or("", |open| if open { "false" } else { "true" }), || {
        says.to_string()
    })?;
    browser.press(" ")?;
    browser.until(&format!("{visible} === {before}"))
}

fn quiz_answers(world: &mut World) -> Result<()> {
    let page = world.chapter();
    let browser = world.browser()?;
    browser.open(&page)?;
    let state = "document.querySelector('.quiz .state').textContent";
    let answer = |n: usize| {
        format!("document.querySelectorAll('.quiz .answer')[{n}].querySelector('summary').click()")
    };
    browser.evaluate(&answer(0))?;
    browser.until(&format!("{state}.startsWith('Try another')"))?;
    browser.until("document.querySelector('.quiz .answer[open]').textContent.includes('does not go up')")?;
    browser.evaluate(&answer(1))?;
    browser.until(&format!("{state}.startsWith('Right at try 2')"))?;
    browser.open(&page)?;
    browser.until(&format!("{state}.startsWith('Right at try 2')"))?;
    let open = browser.evaluate("document.querySelectorAll('.quiz .answer[open]').length")?;
    check(open == 2, || format!("{open} answers are open after loading again"))?;
    browser.evaluate("document.querySelector('.quiz .state button').click()")?;
    browser.until(&format!("{state} === '' && !document.querySelector('.quiz .answer[open]')"))
}

fn stepper_steps(world: &mut World) -> Result<()> {
    let page = world.chapter();
    let browser = world.browser()?;
    browser.open(&page)?;
    let shown = "[...document.querySelectorAll('.stepper [data-step]')].filter(g => \
                 getComputedStyle(g).opacity > 0.5).map(g => g.dataset.step).join()";
    let caption = "[...document.querySelectorAll('.steps > li')].filter(li => li.checkVisibility()).length";
    let at = |shown_now: &str| format!("{shown} === '{shown_now}' && {caption} === 1");
    browser.until(&at("1"))?;
    browser.evaluate("document.querySelectorAll('.stepper-controls button')[1].focus()")?;
    browser.press("Enter")?;
    browser.until(&at("1,2"))?;
    browser.press("ArrowRight")?;
    browser.until(&at("1,2,3"))?;
    browser.press("ArrowLeft")?;
    browser.press("ArrowLeft")?;
    browser.press("ArrowLeft")?;
    browser.until(&at("1"))?;
    let here = browser.evaluate("location.href")?;
    check(here == page.as_str(), || format!("an arrow key turned the page to {here}"))
}

fn ruler_moves(world: &mut World) -> Result<()> {
    let page = format!("file://{}/04-user.html", world.real.out.display());
    let browser = world.browser()?;
    browser.open(&page)?;
    let part = |name: &str| format!("document.querySelector('#figure-ruler-{name}').textContent");
    let marked = "document.querySelectorAll('#figure-ruler .fig-box.fig-parent').length";
    browser.until(&format!("{} === '--uid-map 0:1003:5' && {marked} === 5", part("line")))?;
    browser.evaluate("document.querySelector('[data-ruler=outside]').focus()")?;
    for _ in 0..3 {
        browser.press("ArrowLeft")?;
    }
    browser.until(&format!("{} === '--uid-map 0:1000:5'", part("line")))?;
    browser.until(&format!("{}.endsWith('1000 outside is shown as 0 inside')", part("words")))?;
    browser.evaluate("document.querySelector('[data-ruler=inside]').focus()")?;
    browser.press("ArrowRight")?;
    browser.until(&format!("{}.startsWith('id 0 inside means nothing')", part("words")))?;
    let here = browser.evaluate("location.href")?;
    check(here == page.as_str(), || format!("an arrow key turned the page to {here}"))
}

fn without_javascript(world: &mut World) -> Result<()> {
    let page = world.chapter();
    let browser = world.browser()?;
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }))?;
    let looked = look_without_javascript(browser, &page);
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": false }))?;
    looked
}

fn look_without_javascript(browser: &mut Chromium, page: &str) -> Result<()> {
    browser.call("Page.navigate", json!({ "url": page }))?;
    browser.until("document.querySelectorAll('.instructor').length === 1")?;
    for (holds, why) in [
        ("!document.documentElement.classList.contains('js')", "scripts ran"),
        (
            "[...document.querySelectorAll('[data-step]')].every(g => getComputedStyle(g).opacity === '1')",
            "a step is hidden",
        ),
        (
            "[...document.querySelectorAll('.steps > li')].every(li => li.checkVisibility())",
            "a caption is hidden",
        ),
        ("document.querySelectorAll('.quiz .answer .verdict').length === 5", "an answer has no reason"),
        ("document.querySelector('.listing code').textContent.includes('use std::io')", "a listing is empty"),
    ] {
        check(browser.evaluate(holds)? == true, || why.to_owned())?;
    }
    Ok(())
}

fn exercise_tick(world: &mut World) -> Result<()> {
    let (page, start) = (world.chapter(), format!("file://{}/index.html", world.demo.out.display()));
    let browser = world.browser()?;
    browser.open(&page)?;
    browser.evaluate("document.querySelector('[data-tick=\"harbour.clone\"]').click()")?;
    browser.open(&page)?;
    browser.until("document.querySelector('[data-tick=\"harbour.clone\"]').checked")?;
    browser.until("!document.querySelector('[data-tick=\"harbour.exit\"]').checked")?;
    browser.open(&start)?;
    browser.until("document.querySelector('[data-exercises]').textContent === '1 of 2 exercises'")
}

fn resume(world: &mut World) -> Result<()> {
    let (page, start) = (world.chapter(), format!("file://{}/index.html", world.demo.out.display()));
    let browser = world.browser()?;
    browser.open(&start)?;
    browser.until("document.getElementById('resume').hidden")?;
    browser.open(&page)?;
    browser.evaluate("document.getElementById('build-it').scrollIntoView()")?;
    browser.until("(localStorage.getItem('gantry.last') ?? '').includes('#build-it')")?;
    browser.open(&start)?;
    browser.until("document.querySelector('#resume a')?.textContent === 'A child at the gate: Build it'")?;
    browser.evaluate("document.querySelector('#resume a').click()")?;
    browser.until("location.href.endsWith('01-harbour.html#build-it')")
}

fn no_sideways_scroll(world: &mut World) -> Result<()> {
    let pages = world.pages();
    let browser = world.browser()?;
    browser.size(390, 800)?;
    for page in pages {
        browser.open(&page)?;
        browser.evaluate(UNFOLD)?;
        // What hangs out of the page is cut off by mdBook: look for it, not only at the scroll bar.
        let widest = browser.evaluate(
            "(() => { const out = [...document.querySelectorAll('main *')].filter(e => \
             e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('pre, .figure-scroll, .table-wrapper')); \
             return document.documentElement.scrollWidth > innerWidth ? 'the page scrolls' : \
             out.map(e => e.outerHTML.slice(0, 120)).join('\\n') })()",
        )?;
        check(widest == "", || format!("{page}: {widest}"))?;
    }
    Ok(())
}

fn paper(world: &mut World) -> Result<()> {
    let page = world.chapter();
    let browser = world.browser()?;
    browser.open(&page)?;
    browser.media("light", "print")?;
    for (holds, why) in [
        (
            "[...document.querySelectorAll('.hint')].every(h => h.children[1].checkVisibility({ contentVisibilityAuto: true }))",
            "a hint stays folded",
        ),
        (
            "[...document.querySelectorAll('[data-step]')].every(g => getComputedStyle(g).opacity === '1')",
            "a step is hidden",
        ),
        (
            "[...document.querySelectorAll('.steps > li')].every(li => li.checkVisibility())",
            "a caption is hidden",
        ),
        (
            "![...document.querySelectorAll('.copy, .stepper-controls')].some(e => e.checkVisibility())",
            "a button is printed",
        ),
    ] {
        // The new medium takes effect with the next frame.
        browser.until(holds).map_err(|error| format!("{why}: {error}"))?;
    }
    browser.media("light", "screen")
}

fn axe_light(world: &mut World) -> Result<()> {
    axe_in(world, "light", 1280)
}

fn axe_navy(world: &mut World) -> Result<()> {
    axe_in(world, "dark", 1280)
}

fn axe_narrow(world: &mut World) -> Result<()> {
    axe_in(world, "light", 390)
}

fn axe_in(world: &mut World, scheme: &str, width: u32) -> Result<()> {
    let file = axe::find(&common::root()).ok_or("there is no axe-core, and GANTRY_MUST_RUN=1")?;
    let axe = std::fs::read_to_string(&file).map_err(|error| format!("read {}: {error}", file.display()))?;
    let (pages, chapter) = (world.pages(), world.chapter());
    let browser = world.browser()?;
    browser.media(scheme, "screen")?;
    browser.size(width, 900)?;
    let mut all = Vec::new();
    // Nobody reads all chapters on one page on a phone.
    for page in pages.into_iter().filter(|page| width > 390 || !page.ends_with("print.html")) {
        browser.open(&page)?;
        browser.evaluate(UNFOLD)?;
        for violation in axe::violations(browser, &axe)? {
            all.push(format!("{page}: {violation}"));
        }
    }
    search(browser, &chapter)?;
    all.extend(axe::violations(browser, &axe)?.into_iter().map(|violation| format!("search: {violation}")));
    check(all.is_empty(), || all.join("\n"))
}
