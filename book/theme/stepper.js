// Steppers: a figure whose groups carry data-step is shown one step after the other.
//
// The captions already stand below the figure as a list. This adds two buttons, shows one caption at a time,
// and listens to the arrow keys while the focus is inside, without letting mdBook turn the page.
"use strict";

(() => {
    function stepper(figure) {
        const captions = [...figure.querySelectorAll(".steps > li")];
        const groups = [...figure.querySelectorAll("[data-step]")];
        let step = 1;

        const controls = document.createElement("div");
        controls.className = "stepper-controls";
        const button = (text, by) => {
            const element = document.createElement("button");
            element.type = "button";
            element.className = "quiet-button";
            element.textContent = text;
            element.addEventListener("click", () => go(step + by));
            return element;
        };
        const back = button("Back", -1);
        const next = button("Next", 1);
        const where = document.createElement("span");
        controls.append(back, next, where);
        const list = figure.querySelector(".steps");
        list.setAttribute("aria-live", "polite");
        list.before(controls);

        function go(to) {
            step = Math.min(Math.max(to, 1), captions.length);
            for (const group of groups) {
                const own = Number(group.dataset.step);
                group.classList.toggle("later", own > step);
                group.classList.toggle("past", own < step);
            }
            captions.forEach((caption, index) => { caption.hidden = index + 1 !== step; });
            where.textContent = `Step ${step} of ${captions.length}`;
            // A disabled button would lose the focus, and the reader her place.
            back.setAttribute("aria-disabled", String(step === 1));
            next.setAttribute("aria-disabled", String(step === captions.length));
        }

        figure.addEventListener("keydown", (event) => {
            const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
            if (!by) return;
            event.stopPropagation();
            event.preventDefault();
            go(step + by);
        });
        figure.classList.add("stepping");
        go(1);
    }

    if (document.location.pathname.endsWith("/print.html")) return;
    for (const figure of document.querySelectorAll("figure.stepper")) stepper(figure);
})();
