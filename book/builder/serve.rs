//! `book serve`: the pages on 127.0.0.1, built again at every change, reloaded in the browser.
//!
//! One thread a connection answers from the output folder. The main thread compares modification times every
//! 300 ms and builds. A browser keeps one stream of events open (Server-Sent Events); the script that listens
//! is added to pages as they are served, so what stands on the disk is the plain book.
//!
//! After a broken edit the last good build stays, and both the terminal and the page say what is wrong.
//! Left out: any other address than the loopback one, and any request but GET.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use crate::build;
use crate::site::Site;

/// How often the sources are looked at.
const PAUSE: Duration = Duration::from_millis(300);

/// Where a page asks for events.
const EVENTS: &str = "/gantry-events";

/// The listening end in a page: reload, or show what is wrong.
const SCRIPT: &str = r#"<script>
(() => {
  const events = new EventSource("/gantry-events");
  events.addEventListener("reload", () => location.reload());
  events.addEventListener("broken", (event) => {
    const box = document.getElementById("gantry-broken") ?? document.body.appendChild(document.createElement("pre"));
    box.id = "gantry-broken";
    box.setAttribute("role", "alert");
    box.textContent = JSON.parse(event.data);
  });
})();
</script>
"#;

/// The open event streams.
type Listeners = Arc<Mutex<Vec<Sender<String>>>>;

/// Serves `site` until the process ends.
///
/// # Errors
/// The port is taken, or the sources cannot be read.
pub fn serve(site: &Site, port: u16, open: bool) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("listen on 127.0.0.1:{port}: is another book served there? Try --port"))?;
    let listeners = Listeners::default();
    let mut seen = times(site);
    rebuild(site, &listeners);
    let address = format!("http://{}/", listener.local_addr().context("ask for the own address")?);
    println!("{address}  (Ctrl-C ends it)");
    let (out, streams) = (site.out.clone(), listeners.clone());
    thread::spawn(move || accept(&listener, &out, &streams));
    if open {
        open_browser(&address);
    }
    loop {
        thread::sleep(PAUSE);
        let now = times(site);
        if now != seen {
            seen = now;
            rebuild(site, &listeners);
        }
    }
}

/// Builds, and tells the terminal and every open page how it went.
fn rebuild(site: &Site, listeners: &Listeners) {
    let start = Instant::now();
    // The table of the course may have changed as well.
    let result = workshop::course::Course::load(&site.root)
        .and_then(|course| build::build(&Site { course, ..site.clone() }));
    let wrong = match result {
        Ok(findings) => findings.iter().map(|finding| format!("{finding}\n")).collect(),
        Err(error) => format!("{error:#}\n"),
    };
    if wrong.is_empty() {
        println!("built in {:.1} s", start.elapsed().as_secs_f32());
        tell(listeners, "event: reload\ndata: 1\n\n");
    } else {
        eprint!("{wrong}");
        eprintln!("the last good build stays");
        let data = serde_json::Value::String(wrong);
        tell(listeners, &format!("event: broken\ndata: {data}\n\n"));
    }
}

/// Sends an event to every open stream and forgets those that have closed.
fn tell(listeners: &Listeners, event: &str) {
    let mut listeners = listeners.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    listeners.retain(|listener| listener.send(event.to_owned()).is_ok());
}

/// When each source was last changed.
fn times(site: &Site) -> BTreeMap<PathBuf, SystemTime> {
    let mut times = BTreeMap::new();
    for folder in ["src", "figures", "theme"] {
        collect_times(&site.book.join(folder), &mut times);
    }
    for folder in ["solutions", "chapters", "tests/stages"] {
        collect_times(&site.root.join(folder), &mut times);
    }
    for file in ["book.toml", "course.toml"] {
        note_time(site.book.join(file), &mut times);
    }
    times
}

fn collect_times(folder: &Path, times: &mut BTreeMap<PathBuf, SystemTime>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && entry.file_name() != "target" => collect_times(&entry.path(), times),
            Ok(kind) if kind.is_file() => note_time(entry.path(), times),
            _ => {}
        }
    }
}

fn note_time(file: PathBuf, times: &mut BTreeMap<PathBuf, SystemTime>) {
    if let Ok(time) = std::fs::metadata(&file).and_then(|data| data.modified()) {
        times.insert(file, time);
    }
}

fn accept(listener: &TcpListener, out: &Path, listeners: &Listeners) {
    for stream in listener.incoming().flatten() {
        let (out, listeners) = (out.to_owned(), listeners.clone());
        // A browser that goes away in the middle is no concern of ours.
        thread::spawn(move || drop(answer(stream, &out, &listeners)));
    }
}

/// Answers one request.
fn answer(mut stream: TcpStream, out: &Path, listeners: &Listeners) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(['?', '#']).next().unwrap_or_default();
    if method != "GET" {
        return respond(&mut stream, "405 Method Not Allowed", "text/plain", b"GET only\n");
    }
    if path == EVENTS {
        let (sender, events) = channel();
        listeners.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(sender);
        return stream_events(&mut stream, &events);
    }
    match read_file(out, path) {
        Some((kind, body)) => respond(&mut stream, "200 OK", kind, &body),
        None => respond(&mut stream, "404 Not Found", "text/plain", b"no such page\n"),
    }
}

/// The file that `path` names below `out`, and its type. No path leads out of it.
fn read_file(out: &Path, path: &str) -> Option<(&'static str, Vec<u8>)> {
    let path = decode(path)?;
    let relative = Path::new(path.trim_start_matches('/'));
    if !relative.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        return None;
    }
    let mut file = out.join(relative);
    if file.is_dir() {
        file = file.join("index.html");
    }
    let kind = content_type(&file);
    let mut body = std::fs::read(&file).ok()?;
    if kind.starts_with("text/html") {
        body = with_script(&String::from_utf8(body).ok()?).into_bytes();
    }
    Some((kind, body))
}

/// The page with the listening script at its end.
fn with_script(html: &str) -> String {
    match html.rfind("</body>") {
        Some(at) => format!("{}{SCRIPT}{}", &html[..at], &html[at..]),
        None => html.to_owned(),
    }
}

/// Percent signs resolved; nothing if they are wrong.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) =
                    (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        _ => "application/octet-stream",
    }
}

fn respond(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

/// Passes events on until the browser goes away; a comment now and then finds out that it did.
fn stream_events(stream: &mut TcpStream, events: &Receiver<String>) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n")?;
    loop {
        let event =
            events.recv_timeout(Duration::from_secs(15)).unwrap_or_else(|_| ": still here\n\n".to_owned());
        stream.write_all(event.as_bytes())?;
        stream.flush()?;
    }
}

/// Opens the browser; that there is none is no reason to stop.
fn open_browser(address: &str) {
    if std::process::Command::new("xdg-open").arg(address).spawn().is_err() {
        println!("no xdg-open here: open {address} yourself");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_folder() {
        let out = std::env::temp_dir();
        for path in ["/../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd/../passwd", "/a/../../x"] {
            assert!(read_file(&out, path).is_none(), "{path}");
        }
    }

    #[test]
    fn the_script_comes_last_in_the_body() {
        let page = with_script("<body>x</body></html>");
        assert!(page.starts_with("<body>x<script>") && page.ends_with("</script>\n</body></html>"));
    }

    #[test]
    fn percent_signs_are_resolved() {
        assert_eq!(decode("/a%20b").as_deref(), Some("/a b"));
        assert_eq!(decode("/a%2"), None);
    }
}
