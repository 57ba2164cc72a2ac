// The quota of chapter 6: what the kernel's scheduler makes of `cpu.max`, period by period.
//
// `simulate` is the rule, on plain numbers; a test compares it with the `cpu.stat` of a real cgroup. `picture`
// makes an SVG of its result; the figure holds the one of `START`, and stands without this file and on paper.
// All times are microseconds, as in `cpu.max`.
//
// The rule leaves out that quota is handed to CPUs in slices of 5 ms: a CPU may keep a little that it does not use.
"use strict";

(() => {
    const MS = 1000, DURATION = 500 * MS, MOST_CPUS = 4;
    const START = { quota: 50 * MS, period: 100 * MS, threads: 2, demand: 100, cpus: 4 };

    // `threads` threads each want `demand` percent of a CPU. All that is wanted is wanted at the start of a period.
    function simulate({ quota, period, threads, demand, cpus, duration }) {
        const busy = Math.min(threads, cpus);
        const wanted = Math.min(threads * demand / 100, cpus) * period;
        const limited = wanted > quota;
        const run = Math.min(wanted, quota) / busy;
        const sum = { usage: 0, periods: 0, throttled: 0, throttledTime: 0, percent: 0, busy, stretches: [] };
        for (let start = 0; start < duration; start += period) {
            const end = Math.min(start + period, duration);
            const stop = Math.min(start + run, end);
            sum.stretches.push({ start, stop, end, limited });
            sum.usage += busy * (stop - start);
            // The kernel counts a period when its timer fires, at its end.
            if (end - start < period) continue;
            sum.periods += 1;
            if (!limited) continue;
            sum.throttled += 1;
            // Every CPU counts its own waiting.
            sum.throttledTime += busy * (end - stop);
        }
        sum.percent = 100 * sum.usage / duration;
        return sum;
    }

    const LEFT = 66, TOP = 44, ROW = 36, SCALE = 636 / DURATION;
    const round = (number) => Math.round(number * 10) / 10;
    const at = (time) => round(LEFT + time * SCALE);
    const text = (kind, x, y, words) => `<text class="fig-text ${kind}" x="${x}" y="${y}">${words}</text>`;

    function picture(settings) {
        const sum = simulate({ ...settings, duration: DURATION });
        const { quota, period, cpus } = settings;
        const bottom = TOP + MOST_CPUS * ROW;
        const lines = [
            text("fig-mono fig-strong", 14, 24, `cpu.max  ${quota} ${period}`),
            bar("fig-box fig-child fig-fill", 190 * MS, 206 * MS, 14, 10), text("fig-small", at(212 * MS), 23, "runs"),
            bar("fig-box fig-wrong fig-fill", 250 * MS, 266 * MS, 16, 6), text("fig-small", at(272 * MS), 23, "throttled"),
            text("fig-mono fig-muted fig-end", 702, 24, `docker run --cpus ${round(100 * quota / period) / 100}`),
        ];
        for (let cpu = 0; cpu < cpus; cpu++) {
            const y = TOP + cpu * ROW;
            lines.push(text("fig-small", 14, y + 19, `CPU ${cpu}`), bar("fig-box", 0, DURATION, y + 13, 2));
            if (cpu < sum.busy) lines.push(...sum.stretches.flatMap((stretch) => stretches(stretch, y)));
        }
        for (let time = 0; time <= DURATION; time += period) {
            lines.push(`<path class="fig-line fig-parent fig-dashed" d="M${at(time)} ${TOP - 8}V${bottom}"/>`);
        }
        for (let time = 0; time <= DURATION; time += 100 * MS) {
            lines.push(text("fig-small fig-muted fig-middle", at(time), bottom + 18, time / MS));
        }
        lines.push(text("fig-small fig-muted", 14, bottom + 18, "ms"));
        const stat = [["nr_periods", sum.periods], ["nr_throttled", sum.throttled],
            ["throttled_usec", round(sum.throttledTime)], ["usage_usec", round(sum.usage)]];
        stat.forEach(([name, value], column) => {
            lines.push(text("fig-mono fig-muted", 14 + column * 176, bottom + 50, name));
            lines.push(text("fig-mono fig-strong", 14 + column * 176, bottom + 70, value));
        });
        return lines.join("\n");
    }

    const bar = (kind, start, end, y, height) =>
        `<rect class="${kind}" x="${at(start)}" y="${y}" width="${round((end - start) * SCALE)}" height="${height}"/>`;

    // Running is high and filled, throttled is low: the difference is not in the colour alone.
    function stretches({ start, stop, end, limited }, y) {
        const running = bar("fig-box fig-child fig-fill", start, stop, y, 28);
        return limited ? [running, bar("fig-box fig-wrong fig-fill", stop, end, y + 9, 10)] : [running];
    }

    function words(settings) {
        const sum = simulate({ ...settings, duration: DURATION });
        const [first] = sum.stretches;
        const runs = `${round((first.stop - first.start) / MS)} ms`, waits = `${round((first.end - first.stop) / MS)} ms`;
        const where = sum.busy === 1 ? "on one CPU" : `on each of ${sum.busy} CPUs`;
        const then = first.limited ? `is throttled for ${waits}` : "has done its work: the quota is never reached";
        return `In each period of ${settings.period / MS} ms the program runs ${runs} ${where}, then ${then}. `
            + `That is ${round(sum.percent)} % of a CPU.`;
    }

    const SLIDERS = [
        ["quota", "quota, ms", 5, 400, 5, MS], ["period", "period, ms", 20, 200, 10, MS],
        ["threads", "threads", 1, 4, 1, 1], ["demand", "each wants, %", 10, 100, 10, 1], ["cpus", "CPUs", 1, MOST_CPUS, 1, 1],
    ];

    function start(figure) {
        const settings = { ...START };
        const controls = document.createElement("div");
        controls.className = "figure-controls";
        const said = document.createElement("p");
        said.className = "figure-words";
        said.setAttribute("role", "status");
        for (const [name, title, min, max, step, unit] of SLIDERS) {
            const label = document.createElement("label");
            const slider = document.createElement("input");
            const value = document.createElement("output");
            Object.assign(slider, { type: "range", min, max, step, value: settings[name] / unit });
            slider.dataset.quota = name;
            // The arrow keys are the slider's; mdBook would turn the page.
            slider.addEventListener("keydown", (event) => event.stopPropagation());
            slider.addEventListener("input", () => { settings[name] = slider.value * unit; draw(); });
            label.append(`${title} `, slider, value);
            controls.append(label);
        }
        figure.querySelector(".figure-scroll").after(controls, said);

        function draw() {
            figure.querySelector("#figure-quota-picture").innerHTML = picture(settings);
            for (const label of controls.children) {
                label.querySelector("output").textContent = label.querySelector("input").value;
            }
            said.textContent = words(settings);
        }
        draw();
    }

    // For the tests: the rule, and what the figure on paper must look like.
    globalThis.figures = { ...globalThis.figures, quota: { START, simulate, picture, words } };
    if (typeof document === "undefined" || document.location.pathname.endsWith("/print.html")) return;
    const figure = document.getElementById("figure-quota");
    if (figure) start(figure);
})();
