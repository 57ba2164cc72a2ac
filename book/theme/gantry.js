// What the book remembers and offers in the browser: ticks, quizzes, the way back, copy buttons.
//
// Everything works without this file; it only adds memory and comfort. All of it stays in localStorage of
// this browser under keys that begin with "gantry.". Each function below is one feature.
"use strict";

(() => {
    const isPrint = document.location.pathname.endsWith("/print.html");

    const memory = {
        read(key) {
            try { return JSON.parse(localStorage.getItem("gantry." + key)); } catch { return null; }
        },
        write(key, value) {
            try { localStorage.setItem("gantry." + key, JSON.stringify(value)); } catch { /* private window */ }
        },
    };

    // The sidebar's button drives mdBook's hidden checkbox, so that a keyboard can reach it.
    function sidebarButton() {
        const box = document.getElementById("mdbook-sidebar-toggle-anchor");
        document.getElementById("mdbook-sidebar-toggle")?.addEventListener("click", () => box.click());
    }

    function exerciseTicks() {
        for (const box of document.querySelectorAll("input[data-tick]")) {
            const section = box.closest(".exercise");
            const show = () => section?.classList.toggle("ticked", box.checked);
            const done = () => memory.read("done") ?? [];
            box.checked = done().includes(box.dataset.tick);
            show();
            box.addEventListener("change", () => {
                const others = done().filter((id) => id !== box.dataset.tick);
                memory.write("done", box.checked ? [...others, box.dataset.tick] : others);
                show();
            });
        }
    }

    // The start page counts the ticks of each chapter.
    function courseProgress() {
        const done = memory.read("done") ?? [];
        for (const place of document.querySelectorAll("[data-exercises]")) {
            const ids = place.dataset.exercises.split(" ");
            const count = ids.filter((id) => done.includes(id)).length;
            place.textContent = `${count} of ${ids.length} exercises`;
            place.classList.toggle("all", count === ids.length);
        }
    }

    // A quiz remembers which answers were opened, in order.
    function quizzes() {
        for (const quiz of document.querySelectorAll(".quiz[data-quiz]")) {
            const key = "quiz." + quiz.dataset.quiz;
            const answers = [...quiz.querySelectorAll(".answer")];
            let tried = memory.read(key) ?? [];
            const state = document.createElement("p");
            state.className = "state";
            state.setAttribute("role", "status");
            quiz.append(state);

            const show = () => {
                const right = tried.findIndex((index) => answers[index]?.dataset.right === "yes");
                state.replaceChildren();
                if (tried.length === 0) return;
                const text = right === 0 ? "Right at the first try."
                    : right > 0 ? `Right at try ${right + 1}.` : "Try another one.";
                const again = document.createElement("button");
                again.type = "button";
                again.className = "quiet-button";
                again.textContent = "Start again";
                again.addEventListener("click", () => {
                    tried = [];
                    memory.write(key, tried);
                    for (const answer of answers) answer.open = false;
                    show();
                    answers[0].querySelector("summary").focus();
                });
                state.append(Object.assign(document.createElement("span"), { textContent: text }), again);
            };

            for (const index of tried) if (answers[index]) answers[index].open = true;
            answers.forEach((answer, index) => answer.addEventListener("toggle", () => {
                if (!answer.open || tried.includes(index)) return;
                tried = [...tried, index];
                memory.write(key, tried);
                show();
            }));
            show();
        }
    }

    // Transcripts give their commands only, listings all of their text.
    function copyButtons() {
        if (!navigator.clipboard || isPrint) return;
        for (const pre of document.querySelectorAll("main pre")) {
            const typed = [...pre.querySelectorAll(".typed")];
            const text = () => typed.length > 0
                ? typed.map((line) => line.textContent).join("\n") : pre.querySelector("code")?.textContent ?? "";
            let frame = pre.closest(".listing, .console");
            if (!frame) continue;
            const button = document.createElement("button");
            button.type = "button";
            button.className = "quiet-button copy";
            button.textContent = "Copy";
            button.setAttribute("aria-label", typed.length > 0 ? "Copy the commands" : "Copy the listing");
            button.addEventListener("click", async () => {
                try {
                    await navigator.clipboard.writeText(text());
                    button.textContent = "Copied";
                } catch {
                    button.textContent = "Not allowed";
                }
                setTimeout(() => { button.textContent = "Copy"; }, 1500);
            });
            frame.append(button);
        }
    }

    // What scrolls sideways must be reachable by keyboard.
    function scrollableByKeyboard() {
        const places = document.querySelectorAll("pre > code, .figure-scroll, .table-wrapper");
        const update = () => {
            for (const place of places) {
                if (place.scrollWidth > place.clientWidth) {
                    place.tabIndex = 0;
                } else {
                    place.removeAttribute("tabindex");
                }
            }
        };
        update();
        window.addEventListener("resize", update);
        document.addEventListener("toggle", update, true);
    }

    // Chapters note where the reader is; the start page leads back.
    function resume() {
        const place = document.getElementById("resume");
        const main = document.querySelector("main");
        if (isPrint || !main) return;
        if (place) {
            const last = memory.read("last");
            if (!last?.page) return;
            const link = document.createElement("a");
            link.href = last.page + (last.hash ?? "");
            link.textContent = last.part ? `${last.title}: ${last.part}` : last.title;
            place.replaceChildren("Go on where you stopped: ", link);
            place.hidden = false;
            return;
        }
        const title = main.querySelector("h1")?.textContent;
        const page = document.location.pathname.split("/").pop();
        if (!title || !document.querySelector("main .card")) return;
        const parts = [...main.querySelectorAll("h2[id]")];
        let waiting = false;
        const note = () => {
            waiting = false;
            const part = parts.filter((part) => part.getBoundingClientRect().top < 200).pop();
            memory.write("last", { page, title, part: part?.textContent, hash: part ? "#" + part.id : "" });
        };
        window.addEventListener("scroll", () => {
            if (!waiting) setTimeout(note, 400);
            waiting = true;
        }, { passive: true });
        note();
    }

    // The page with all chapters is made for paper.
    function openForPrint() {
        if (!isPrint) return;
        for (const part of document.querySelectorAll("main details")) part.open = true;
    }

    sidebarButton();
    exerciseTicks();
    courseProgress();
    if (!isPrint) quizzes();
    copyButtons();
    scrollableByKeyboard();
    resume();
    openForPrint();
})();
