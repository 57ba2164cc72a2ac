// The ruler of chapter 4: an id map that the reader moves.
//
// The figure itself shows one map, and stands without this file and on paper. Three sliders are added; each
// movement is a new map, and `shown` says what it looks like, as plain data. Only `draw` touches the page.
"use strict";

(() => {
    const CELLS = 20, OUTSIDE = 1000, WIDTH = 34, LEFT = 24, OVERFLOW = 65534;

    // What a map `inside:outside:count` marks, and what it says of the first id on either side.
    function shown({ inside, outside, count }) {
        const meaning = (id) => id >= inside && id < inside + count ? outside + id - inside : null;
        const seen = (id) => id >= outside && id < outside + count ? inside + id - outside : OVERFLOW;
        const first = meaning(0);
        const words = (first === null ? "id 0 inside means nothing: there is no root" : `id 0 inside is ${first} outside`)
            + `; ${OUTSIDE} outside is shown as ${seen(OUTSIDE)} inside`;
        return { line: `--uid-map ${inside}:${outside}:${count}`, words };
    }

    function ruler(figure) {
        const part = (name) => figure.querySelector(`#figure-ruler-${name}`);
        const map = { inside: 0, outside: 1003, count: 5 };
        const limits = { inside: [0, 10], outside: [OUTSIDE, OUTSIDE + 10], count: [1, 10] };
        const controls = document.createElement("div");
        controls.className = "figure-controls";
        for (const name of Object.keys(map)) {
            const label = document.createElement("label");
            const slider = document.createElement("input");
            const [min, max] = limits[name];
            Object.assign(slider, { type: "range", min, max, value: map[name] });
            slider.dataset.ruler = name;
            // The arrow keys are the slider's; mdBook would turn the page.
            slider.addEventListener("keydown", (event) => event.stopPropagation());
            slider.addEventListener("input", () => { map[name] = Number(slider.value); draw(); });
            label.append(name, slider);
            controls.append(label);
        }
        figure.querySelector(".figure-scroll").after(controls);

        function draw() {
            const { inside, outside, count } = map;
            const far = outside - OUTSIDE;
            for (let cell = 0; cell < CELLS; cell++) {
                const mark = (name, kind, first) => {
                    const on = cell >= first && cell < first + count;
                    part(name + cell).setAttribute("class", on ? `fig-box ${kind} fig-fill` : "fig-box");
                };
                mark("in", "fig-child", inside);
                mark("out", "fig-parent", far);
            }
            const at = (cell) => LEFT + cell * WIDTH;
            part("left").setAttribute("d", `M${at(inside)} 62L${at(far)} 160`);
            part("right").setAttribute("d", `M${at(inside + count)} 62L${at(far + count)} 160`);
            const { line, words } = shown(map);
            part("line").textContent = line;
            part("words").textContent = words;
        }
        draw();
    }

    if (document.location.pathname.endsWith("/print.html")) return;
    const figure = document.getElementById("figure-ruler");
    if (figure) ruler(figure);
})();
