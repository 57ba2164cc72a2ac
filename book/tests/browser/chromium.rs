//! A small client of Chromium's debugging protocol: one browser, one tab, over two pipes.
//!
//! Chromium reads commands from descriptor 3 and writes answers and events to descriptor 4, each a JSON text
//! with a zero byte behind it. A shell puts our pipes there, which spares us code that runs between fork and
//! exec. A thread reads; whoever waits, waits with a limit.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The longest that any answer may take.
const LIMIT: Duration = Duration::from_secs(40);

/// What can go wrong, in words.
pub type Result<T> = std::result::Result<T, String>;

/// A running browser with one tab.
pub struct Chromium {
    child: Child,
    commands: Option<ChildStdin>,
    messages: Receiver<Value>,
    profile: PathBuf,
    session: String,
    last: u64,
    /// Events of the tab that nobody has looked at yet.
    events: Vec<Value>,
}

impl Chromium {
    /// Starts it with a profile of its own in `folder`.
    pub fn start(program: &Path, folder: &Path) -> Result<Chromium> {
        let profile = folder.join(format!("chromium-{}", std::process::id()));
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, "sh"])
            .arg(program)
            .args(book::pdf::QUIET)
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("start {}: {error}", program.display()))?;
        let commands = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            while matches!(answers.read_until(0, &mut bytes), Ok(length) if length > 0) {
                bytes.pop();
                let Ok(message) = serde_json::from_slice(&bytes) else { break };
                if sender.send(message).is_err() {
                    break;
                }
                bytes.clear();
            }
        });
        let (session, events) = (String::new(), Vec::new());
        let mut browser = Chromium { child, commands, messages, profile, session, last: 0, events };
        browser.attach()?;
        Ok(browser)
    }

    fn attach(&mut self) -> Result<()> {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", attached)?;
        self.session = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}))?;
        }
        // The page for print opens the printer's dialogue, which nobody would close.
        let quiet = json!({ "source": "window.print = () => {};" });
        self.call("Page.addScriptToEvaluateOnNewDocument", quiet).map(drop)
    }

    /// One command of the protocol, and its result.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let pipe = self.commands.as_mut().ok_or("the browser is closed")?;
        pipe.write_all(format!("{message}\0").as_bytes())
            .map_err(|error| format!("send {method}: {error}"))?;
        loop {
            let answer = self.next(LIMIT).map_err(|error| format!("{method}: {error}"))?;
            if answer["id"] != self.last {
                self.events.push(answer);
            } else if let Some(error) = answer.get("error") {
                return Err(format!("{method}: {error}"));
            } else {
                return Ok(answer["result"].clone());
            }
        }
    }

    fn next(&mut self, limit: Duration) -> Result<Value> {
        self.messages.recv_timeout(limit).map_err(|_| "the browser does not answer".to_owned())
    }

    /// Loads `url` and waits until it has loaded. Earlier events are forgotten.
    pub fn open(&mut self, url: &str) -> Result<()> {
        self.events.clear();
        self.call("Page.navigate", json!({ "url": url }))?;
        let start = Instant::now();
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next(LIMIT.saturating_sub(start.elapsed()))?;
            self.events.push(event);
        }
        // What scripts do in their first moments belongs to loading.
        self.evaluate("new Promise(done => setTimeout(done, 30))").map(drop)
    }

    /// The value of a JavaScript expression in the page; a promise is awaited.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", params)?;
        match answer.get("exceptionDetails") {
            Some(error) => Err(format!("{expression}: {}", error["exception"]["description"])),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until `expression` is true.
    pub fn until(&mut self, expression: &str) -> Result<()> {
        let start = Instant::now();
        while self.evaluate(expression)? != true {
            if start.elapsed() > Duration::from_secs(5) {
                return Err(format!("never became true: {expression}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The size of the window in CSS pixels.
    pub fn size(&mut self, width: u32, height: u32) -> Result<()> {
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", params).map(drop)
    }

    /// What the system prefers: `light` or `dark`; and the medium: `screen` or `print`.
    pub fn media(&mut self, scheme: &str, medium: &str) -> Result<()> {
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.call("Emulation.setEmulatedMedia", json!({ "media": medium, "features": features })).map(drop)
    }

    /// Presses and releases a key.
    pub fn press(&mut self, key: &str) -> Result<()> {
        let codes: HashMap<&str, (u32, &str)> = HashMap::from([
            ("Tab", (9, "")),
            ("Enter", (13, "\r")),
            (" ", (32, " ")),
            ("Escape", (27, "")),
            ("ArrowLeft", (37, "")),
            ("ArrowRight", (39, "")),
            ("/", (191, "/")),
        ]);
        let (code, text) = codes.get(key).copied().ok_or(format!("no code for the key {key}"))?;
        for kind in ["keyDown", "keyUp"] {
            let kind = if text.is_empty() && kind == "keyDown" { "rawKeyDown" } else { kind };
            let mut params = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" {
                params["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", params)?;
        }
        Ok(())
    }

    /// Types text into what has the focus.
    pub fn type_text(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", json!({ "text": text })).map(drop)
    }

    /// Errors of scripts and of the console, and requests to anything but files, since the page was opened.
    pub fn complaints(&mut self) -> Vec<String> {
        self.events.iter().filter_map(complaint).collect()
    }

    /// Ends the browser and removes its profile.
    pub fn stop(&mut self) {
        // It answers or not; it gets its time either way.
        let _ = self.call("Browser.close", json!({}));
        self.commands = None;
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// What an event complains about, if it does.
fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if params["type"] == "error" => Some(params["args"].to_string()),
        "Log.entryAdded" if params["entry"]["level"] == "error" => Some(params["entry"].to_string()),
        "Network.requestWillBeSent" => {
            let url = params["request"]["url"].as_str().unwrap_or_default();
            let local = ["file:", "data:", "about:"].iter().any(|scheme| url.starts_with(scheme));
            (!local).then(|| format!("asks for {url}"))
        }
        _ => None,
    }
}
