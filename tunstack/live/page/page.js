"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const SECONDS = 30;          // that the plots of a connection show
  const TILE_SECONDS = 60;     // that the small ones show
  const MOST_RUNGS = 300;      // of the ladder on the page
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  // What packets say is text, never markup: nothing here parses HTML.
  function make(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }
  function shape(tag, attributes) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    return node;
  }
  function put(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  // Numbers, with three digits and a unit.
  function digits(value) {
    return value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
  }
  function scaled(value, units) {
    let unit = 0;
    while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit++; }
    return [unit || value % 1 ? digits(value) : String(value), units[unit]];
  }
  const bits = (octets) => scaled(Math.round(octets * 8),
    ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]);
  const bytes = (octets) => scaled(octets, ["B", "kB", "MB", "GB", "TB"]);
  const joined = ([number, unit]) => `${number} ${unit}`;
  const whole = (number) => Math.round(number).toLocaleString("en");
  const perSecond = (rate) => rate >= 9.95 || rate % 1 === 0 ? whole(rate) : rate.toFixed(1);
  function duration(seconds) {
    if (seconds === null || seconds === undefined) return "–";
    if (seconds < 60) return `${Math.floor(seconds)} s`;
    const [s, m, h] = [seconds % 60, seconds / 60 % 60, seconds / 3600].map(Math.floor);
    const two = (number) => String(number).padStart(2, "0");
    return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  }
  const milliseconds = (seconds) =>
    seconds === null || seconds === undefined ? "–" : `${digits(seconds * 1000)} ms`;

  // Plots

  function step(most) {
    const power = 10 ** Math.floor(Math.log10(most || 1));
    return [1, 2, 5, 10].map((each) => each * power).find((each) => most / each <= 3.01);
  }
  function path(points, x, y, stepped) {
    let d = "";
    let last = null;
    for (const [at, value] of points) {
      if (value === null) { last = null; continue; }
      const [left, top] = [x(at).toFixed(1), y(value).toFixed(1)];
      d += last === null ? `M${left} ${top}` : stepped ? `H${left}V${top}` : `L${left} ${top}`;
      last = left;
    }
    return d;
  }
  // The newest point at the right, and where it stays if nothing more happens.
  function windowed(points, index, now, seconds) {
    const found = [];
    for (let at = points.length - 1; at >= 0; at--) {
      found.unshift([points[at][0] - now, points[at][index]]);
      if (points[at][0] < now - seconds) break;
    }
    if (found.length) found.push([0, found[found.length - 1][1]]);
    return found;
  }
  function plot(svg, series, now, points, label, absolute) {
    const [width, height] = [svg.clientWidth, svg.clientHeight];
    if (!width) return;
    const [left, right, top, bottom] = [56, 4, 6, 16];
    const drawn = series.map((each) => windowed(points, each.index, now, SECONDS));
    const values = drawn.flat().map((each) => each[1]).filter((each) => each !== null);
    const [least, most] = [absolute ? 0 : Math.min(...values), Math.max(...values, 1)];
    const every = step(most - least);
    const first = Math.floor(least / every) * every;
    const end = first + every * Math.max(1, Math.ceil((most - first) / every));
    const x = (at) => left + (width - left - right) * (1 + at / SECONDS);
    const y = (value) => top + (height - top - bottom) * (1 - (value - first) / (end - first));
    const nodes = [];
    for (let value = first; value <= end; value += every) {
      const line = Math.round(y(value)) + .5;
      nodes.push(shape("path", { class: "grid", d: `M${left} ${line}H${width - right}` }));
      const text = shape("text", { x: left - 6, y: line + 3, "text-anchor": "end" });
      text.textContent = joined(bytes(value)).replace(/\.?0+ /, (zeros) =>
        zeros.startsWith(".") ? " " : zeros);
      nodes.push(text);
    }
    for (const at of [-30, -20, -10, 0]) {
      const text = shape("text", { x: x(at), y: height - 3,
        "text-anchor": at ? at === -30 ? "start" : "middle" : "end" });
      text.textContent = at ? `${at} s` : "now";
      nodes.push(text);
    }
    series.forEach((each, number) => {
      const d = path(drawn[number], x, y, true);
      if (!d) return;
      if (each.area) {
        const start = x(drawn[number][0][0]).toFixed(1);
        nodes.push(shape("path", { class: `area ${each.color}`,
          d: `${d}V${y(first)}H${start}Z` }));
      } else {
        nodes.push(shape("path", { class: `line ${each.dashed ? "dashed " : ""}${each.color}`, d }));
      }
    });
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren(...nodes);
    svg.setAttribute("aria-label", label);
  }
  function key(node, series) {
    const nodes = series.map((each) => {
      const item = make("span");
      item.append(make("i", `${each.area ? "area " : each.dashed ? "dashed " : ""}${each.color}`),
        each.name);
      return item;
    });
    node.replaceChildren(...nodes);
  }
  const WINDOW = [
    { index: 3, name: "in flight", color: "blue", area: true },
    { index: 2, name: "ssthresh", color: "orange", dashed: true },
    { index: 1, name: "cwnd", color: "blue" },
  ];
  const SENT = [
    { index: 6, name: "window", color: "green", dashed: true },
    { index: 5, name: "sent", color: "orange" },
    { index: 4, name: "acknowledged", color: "blue" },
  ];
  const RECEIVED = [
    { index: 8, name: "window", color: "green", dashed: true },
    { index: 7, name: "received", color: "blue" },
  ];

  // The whole host

  const TILES = [
    ["Data in", "blue", (t) => [t.rate_in, bits(t.rate_in)]],
    ["Data out", "orange", (t) => [t.rate_out, bits(t.rate_out)]],
    ["Packets in", "blue", (t) => [t.packet_rate_in, [perSecond(t.packet_rate_in), "/s"]]],
    ["Packets out", "orange", (t) => [t.packet_rate_out, [perSecond(t.packet_rate_out), "/s"]]],
    ["Connections", "green", (t) => [t.connections, [whole(t.connections),
      `· ${perSecond(t.open_rate)} new/s`]]],
    ["Retransmissions", "bad", (t) => [t.retransmission_rate,
      [perSecond(t.retransmission_rate), `/s · ${whole(t.retransmitted)} in all`]]],
    ["Drops", "bad", (t) => [t.drop_rate,
      [perSecond(t.drop_rate), `/s · ${whole(t.dropped)} in all`]]],
    ["Memory", "purple", (t) => [t.memory, bytes(t.memory)]],
  ].map(([name, color, read]) => {
    const tile = make("div", `tile ${color}`);
    const [value, unit] = [make("b"), make("span")];
    const text = make("p");
    const svg = shape("svg", { "aria-hidden": "true", viewBox: `0 0 ${TILE_SECONDS} 26`,
      preserveAspectRatio: "none" });
    const [area, line] = [shape("path", { class: "area" }), shape("path", { class: "line" })];
    value.style.fontWeight = "500";
    text.append(value, unit);
    svg.append(area, line);
    tile.append(make("h2", "", name), text, svg);
    $("tiles").append(tile);
    return { tile, value, unit, area, line, read, history: [] };
  });
  function drawTiles(data) {
    const totals = { ...data.totals, connections:
      Object.values(data.states).reduce((sum, count) => sum + count, 0) };
    for (const tile of TILES) {
      const [number, [value, unit]] = tile.read(totals);
      tile.tile.classList.toggle("some", number > 0);
      put(tile.value, value);
      put(tile.unit, unit);
      const history = tile.history;
      if (data.interval) history.push([data.time, number]);
      while (history.length > 2 && history[1][0] < data.time - TILE_SECONDS) history.shift();
      const most = Math.max(...history.map((each) => each[1]), 1e-9);
      const x = (at) => TILE_SECONDS + at - data.time;
      const y = (amount) => 25 - 22 * amount / most;
      const d = path(history, x, y, false);
      tile.line.setAttribute("d", d);
      tile.area.setAttribute("d", d && `${d}V26H${x(history[0][0]).toFixed(1)}Z`);
    }
  }

  // Connections

  const COLORS = { ESTAB: "green", "SYN-SENT": "orange", "SYN-RECV": "orange",
    "CLOSE-WAIT": "purple", "FIN-WAIT-1": "sky", "FIN-WAIT-2": "sky", "LAST-ACK": "sky",
    CLOSING: "sky" };
  const rows = new Map();
  let [following, addresses] = [null, []];

  function makeRow(id) {
    const row = make("tr");
    const cells = {};
    for (const heading of $("table").tHead.rows[0].cells) {
      const name = heading.className.split(" ").find((each) => each !== "n");
      const cell = cells[name] ? (cells.sent = make("td", heading.className))
        : (cells[name] = make("td", heading.className));
      row.append(cell);
    }
    const [cellsOfRates] = [[...row.querySelectorAll(".rate")]];
    const [queues] = [[...row.querySelectorAll(".queue")]];
    const button = make("button");
    button.type = "button";
    button.tabIndex = -1;
    button.setAttribute("aria-pressed", "false");
    cells.peer.append(button);
    row.addEventListener("click", () => { if (!getSelection().toString()) choose(id); });
    return { row, button, state: cells.state, local: cells.local, recvq: queues[0],
      sendq: queues[1], input: cellsOfRates[0], output: cellsOfRates[1], cwnd: cells.cwnd,
      rtt: cells.rtt, again: cells.again, age: cells.age };
  }
  // Of an address that the host has only one of, the port is enough.
  function shortened(local) {
    const colon = local.lastIndexOf(":");
    const address = local.slice(0, colon).replace(/^\[|\]$/g, "");
    return addresses.includes(address) ? local.slice(colon) : local;
  }
  function amount(cell, number, text) {
    put(cell, text);
    cell.classList.toggle("zero", !number);
  }
  function drawRow(parts, each) {
    const { row, button } = parts;
    put(parts.state, each.state);
    parts.state.className = `state ${COLORS[each.state] || ""}`;
    put(parts.local, shortened(each.local));
    parts.local.title = each.local;
    put(button, each.remote);
    button.title = each.remote;
    amount(parts.recvq, each.recv_q, whole(each.recv_q));
    amount(parts.sendq, each.send_q, whole(each.send_q));
    amount(parts.input, each.rate_in, joined(bits(each.rate_in)));
    amount(parts.output, each.rate_out, joined(bits(each.rate_out)));
    put(parts.cwnd, each.cwnd === null ? "–" : String(each.cwnd));
    put(parts.rtt, milliseconds(each.rtt));
    amount(parts.again, each.retransmits, whole(each.retransmits));
    parts.again.classList.toggle("some", each.retransmits > 0);
    put(parts.age, duration(each.age));
    row.className = `${each.id === following ? "chosen" : ""} ${each.own ? "own" : ""}`.trim();
    button.setAttribute("aria-pressed", String(each.id === following));
  }
  function drawConnections(data) {
    addresses = data.addresses.map((each) => each.split("/")[0]);
    if (new Set(addresses.map((each) => each.includes(":"))).size < addresses.length)
      addresses = [];
    const shown = data.connections;
    if ($("order").value === "opened") shown.sort((one, other) => one.id - other.id);
    const body = $("rows");
    const focused = rowOf(document.activeElement);
    const wanted = new Set(shown.map((each) => each.id));
    for (const [id, parts] of rows) {
      if (!wanted.has(id)) { parts.row.remove(); rows.delete(id); }
    }
    let place = body.firstElementChild;
    for (const each of shown) {
      let parts = rows.get(each.id);
      if (!parts) rows.set(each.id, parts = makeRow(each.id));
      drawRow(parts, each);
      if (parts.row === place) place = place.nextElementSibling;
      else body.insertBefore(parts.row, place);
    }
    // One of the rows is reached by Tab; the others from it.
    if (focused && focused.isConnected && document.activeElement === document.body)
      focused.querySelector("button").focus({ preventScroll: true });
    const buttons = [...body.querySelectorAll("button")];
    if (!buttons.some((each) => each.tabIndex === 0) && buttons.length) buttons[0].tabIndex = 0;
    put($("states"), Object.entries(data.states).map(([name, count]) =>
      `${whole(count)} ${name}`).join(" · ") || "\u00a0");
    const none = shown.length === 0;
    $("empty").hidden = !none;
    $("table").hidden = none;
    put($("empty"), filtered() ? "No connection matches." : "No connections.");
    const hidden = data.matching - shown.length;
    $("more").hidden = hidden <= 0;
    put($("more"), `${whole(hidden)} more ${hidden === 1 ? "is" : "are"} not shown.`);
    const options = $("state");
    for (const name of Object.keys(data.states)) {
      if (![...options.options].some((each) => each.value === name)) {
        const option = make("option", "", name);
        option.value = name;
        options.append(option);
      }
    }
  }
  const filtered = () => $("port").value !== "" || $("state").value !== "";
  const rowOf = (node) => node && node.closest ? node.closest("#rows tr") : null;

  // The chosen connection

  let [cursor, points, direction] = [{}, [], SENT];

  function choose(id) {
    following = following === id ? null : id;
    forget();
    draw(latest);
    poll();
  }
  function forget() {
    [cursor, points, direction] = [{ row: 0, point: 0 }, [], SENT];
    $("ladder").replaceChildren();
    $("chosen").hidden = true;
    $("middle").classList.toggle("tall", following !== null);
    $("close").hidden = following === null;
    $("hint").hidden = following !== null;
    put($("detail-title"), following === null ? "No connection chosen" : "…");
  }
  function drawChosen(chosen, now) {
    if (following === null) return;
    if (!chosen || chosen.id !== following) return;
    if (chosen.view !== cursor.view) { forget(); cursor.view = chosen.view; }
    if (chosen.gone && !points.length) {
      put($("detail-title"), "This connection is gone");
      return;
    }
    const row = chosen.row;
    $("chosen").hidden = false;
    if (row) {
      put($("detail-title"), `${row.local} ↔ ${row.remote}`);
      drawFacts(row);
    }
    points.push(...chosen.points);
    while (points.length > 2 && points[1][0] < now - SECONDS) points.shift();
    cursor.row = chosen.next_row;
    cursor.point = chosen.next_point;
    drawPlots(chosen.ended && points.length ? points[points.length - 1][0] : now);
    addRungs(chosen);
  }
  function drawPlots(now) {
    if (!points.length) return;
    const [first, last] = [points[0], points[points.length - 1]];
    const [received, sent] = [last[7] - first[7], last[5] - first[5]];
    if (received !== sent) direction = received > sent ? RECEIVED : SENT;
    const text = (index) => last[index] === null ? "none" : joined(bytes(last[index]));
    plot($("window-plot"), WINDOW, now, points, `Congestion window ${text(1)}, slow start`
      + ` threshold ${text(2)}, in flight ${text(3)}, over the last ${SECONDS} seconds`, true);
    const sending = direction === SENT;
    plot($("sequence-plot"), direction, now, points, sending
      ? `Sent ${text(5)}, acknowledged ${text(4)}, over the last ${SECONDS} seconds`
      : `Received ${text(7)}, over the last ${SECONDS} seconds`, false);
    put($("sequence-title"), sending ? "Octets sent" : "Octets received");
    if ($("sequence-key").dataset.of !== String(sending)) {
      $("sequence-key").dataset.of = String(sending);
      key($("sequence-key"), direction);
    }
  }
  const facts = new Map();
  function drawFacts(row) {
    const segments = Math.floor(row.snd_cwnd / Math.max(1, row.snd_mss));
    const options = [["timestamps", "ts"], ["sack", "sack"], ["ecn", "ecn"]]
      .filter(([name]) => row[name]).map(([, word]) => word);
    const known = row.congestion !== "";  // Not of what is in TIME-WAIT without a socket.
    const values = {
      State: row.rfc_state,
      Recovery: row.phase || "–",
      RTT: row.rtt === null ? "–" : `${digits(row.rtt * 1000)} ± ${milliseconds(row.rttvar)}`,
      "Least RTT": milliseconds(row.min_rtt),
      RTO: milliseconds(row.rto),
      Control: row.congestion,
      cwnd: `${whole(segments)} × MSS, ${joined(bytes(row.snd_cwnd))}`,
      ssthresh: row.snd_ssthresh === null ? "none yet" : joined(bytes(row.snd_ssthresh)),
      "Peer’s window": joined(bytes(row.snd_wnd)),
      "Our window": joined(bytes(row.rcv_wnd)),
      Unacknowledged: joined(bytes(row.unacked)),
      "Not sent": joined(bytes(row.notsent)),
      Acknowledged: joined(bytes(row.bytes_acked)),
      Received: joined(bytes(row.bytes_received)),
      Retransmitted: `${whole(row.retransmits)} segments`,
      "Out of order": joined(bytes(row.out_of_order)),
      "MSS, path MTU": `${row.snd_mss}, ${row.pmtu}`,
      Options: [...options, `ws ${row.snd_wscale},${row.rcv_wscale}`].join(" "),
    };
    for (const name in values) {
      let value = facts.get(name);
      if (!value) {
        facts.set(name, value = make("dd"));
        $("facts").append(make("dt", "", name), value);
      }
      if (!known && name !== "State") values[name] = "–";
      put(value, values[name]);
      value.title = values[name];
    }
  }
  function addRungs(chosen) {
    const ladder = $("ladder");
    const atEnd = ladder.scrollHeight - ladder.scrollTop - ladder.clientHeight < 30;
    if (!ladder.firstChild && chosen.row) {
      const ends = make("div", "rung ends");
      const wire = make("div", "wire");
      wire.append(make("span", "", chosen.row.remote), make("span", "", chosen.row.local));
      ends.append(make("div", "time", "s"), wire, make("div", "ours", "our state"));
      ladder.append(ends);
    }
    for (const each of chosen.rows) ladder.append(rung(each));
    while (ladder.children.length > MOST_RUNGS) ladder.children[1].remove();
    if (atEnd) ladder.scrollTop = ladder.scrollHeight;
    put($("ladder-count"), `${whole(chosen.packets)} seen${chosen.ended ? ", closed" : ""}`);
  }
  // Where it has changed, and where it was not said before.
  function stateOf(each) {
    const now = each.state.split(" -> ").pop();
    const said = now === cursor.state || !now;
    cursor.state = now || cursor.state;
    return each.changed ? `→ ${now}` : said ? "" : now;
  }
  function rung(each) {
    const row = make("div", "rung");
    const wire = make("div", "wire");
    if (each.toward) {
      const arrow = make("div", `arrow ${each.toward === "right" ? "blue" : "orange"}`);
      const words = make("b", "", each.words.join(" "));
      words.title = words.textContent;
      arrow.append(make("i", `to-${each.toward}`), words);
      wire.append(arrow);
    } else {
      wire.append(make("div", "more folded", each.words.join(", ")));
    }
    if (each.details.length) wire.append(make("div", "more", each.details.join(" ")));
    for (const message of each.messages) wire.append(make("div", "more", message.join(" ")));
    if (each.note)
      wire.append(make("div", /^delayed/.test(each.note) ? "more" : "remark", each.note));
    const ours = make("div", `ours${each.changed ? " changed" : ""}`, stateOf(each));
    ours.title = each.state;
    row.append(make("div", "time", each.time.toFixed(4)), wire, ours);
    return row;
  }

  // Sockets and counters

  const counters = new Map();
  function drawCounters(data) {
    for (const name of Object.keys(data.counters)) {
      let parts = counters.get(name);
      if (!parts) {
        const item = make("div");
        parts = { item, count: make("dd"), rate: make("dd") };
        item.append(make("dt", "", name.replaceAll("_", " ")), parts.count, parts.rate);
        counters.set(name, parts);
        const later = [...counters.keys()].sort().find((each) => each > name);
        $("counters").insertBefore(item, later ? counters.get(later).item : null);
      }
      put(parts.count, whole(data.counters[name]));
    }
    for (const [name, parts] of counters) {
      const rate = data.counter_rates[name];
      put(parts.rate, rate ? `${perSecond(rate)} /s` : "");
    }
    put($("own-note"), `Of this page: ${data.own} connection${data.own === 1 ? "" : "s"}, whose`
      + " packets are counted with the others; their data is not.");
  }
  // Those of both families on one port are one row.
  function merged(sockets, sums) {
    const found = new Map();
    for (const each of sockets) {
      const any = /^(0\.0\.0\.0|\[::\]):/.test(each.local) && (each.remote || "*:*") === "*:*";
      const name = any ? `*:${each.port}` : `${each.local} ${each.remote}`;
      const before = found.get(name);
      if (!before) found.set(name, { ...each, local: any ? name : each.local });
      else for (const sum of sums) before[sum] += each[sum];
    }
    return [...found.values()];
  }
  function drawSockets(data) {
    const lines = [
      ...merged(data.listeners, ["queued", "half_open"]).map((each) => ["tcp", each.local,
        whole(each.queued), whole(each.half_open), whole(each.backlog), "", each.own]),
      ...merged(data.datagrams, ["queued", "dropped"]).map((each) => ["udp",
        each.remote === "*:*" ? each.local : `${each.local} ↔ ${each.remote}`,
        whole(each.queued), "", "", whole(each.dropped), false]),
    ];
    const body = $("sockets");
    while (body.rows.length > lines.length) body.lastElementChild.remove();
    lines.forEach((line, number) => {
      const row = body.rows[number] || body.insertRow();
      while (row.cells.length < 6) row.insertCell().className = row.cells.length > 2 ? "n" : "";
      line.slice(0, 6).forEach((text, column) => put(row.cells[column], text));
      put(row.cells[1], line[6] ? `${line[1]} (this page)` : line[1]);
    });
  }

  // The loop

  let [latest, timer, asking, again, paused, drawn] = [null, 0, false, false, false, false];

  function say(text, className) {
    document.body.className = className;
    put($("status"), text);
  }
  function draw(data) {
    if (!data) return;
    // The first sample of a view has no rates.
    if (data.interval || !drawn) drawTiles(data);
    drawn = true;
    drawConnections(data);
    drawCounters(data);
    drawSockets(data);
    put($("host"), `${data.addresses.join(" · ")} · ${data.name}, MTU ${data.mtu}`);
    document.title = `${data.addresses[0].split("/")[0]} – tunstack`;
  }
  function query() {
    const wanted = new URLSearchParams({ order: $("order").value, own: Number($("own").checked) });
    if ($("port").value && $("port").checkValidity()) wanted.set("port", $("port").value);
    if ($("state").value) wanted.set("state", $("state").value);
    if (following !== null) {
      wanted.set("follow", following);
      wanted.set("view", cursor.view || "");
      wanted.set("row", cursor.row || 0);
      wanted.set("point", cursor.point || 0);
    }
    return `data?${wanted}`;
  }
  async function poll() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    if (asking) { again = true; return; }
    asking = true;
    again = false;
    let pause = 2000;
    try {
      const answer = await fetch(query(), { cache: "no-store", signal: AbortSignal.timeout(15000) });
      if (!answer.ok) throw new Error((await answer.text()).trim().slice(0, 200));
      const data = await answer.json();
      pause = again ? 0 : data.pause * 1000;
      latest = data;
      draw(data);
      drawChosen(data.chosen, data.time);
      if (!paused) say(`live, every ${Number(data.pause.toFixed(1)) || .1} s`, "live");
    } catch (error) {
      say(/^(TypeError|TimeoutError)$/.test(error.name) ? "no answer" : error.message, "lost");
    }
    asking = false;
    timer = setTimeout(poll, still.matches && !again ? Math.max(pause, 2000) : pause);
  }
  function pausing(on) {
    paused = on;
    $("pause").setAttribute("aria-pressed", String(on));
    put($("pause"), on ? "Continue" : "Pause");
    if (on) say("paused", "");
    poll();
  }

  // By keyboard and pointer

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    const row = rowOf(event.target);
    const buttons = [...$("rows").querySelectorAll("button")];
    const move = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (move && (row || event.target === document.body || event.target === $("connections"))) {
      const at = row ? buttons.indexOf(event.target) : move > 0 ? -1 : buttons.length;
      const next = buttons[Math.max(0, Math.min(buttons.length - 1, at + move))];
      if (!next) return;
      for (const each of buttons) each.tabIndex = each === next ? 0 : -1;
      next.focus();
      event.preventDefault();
    } else if (event.key === "Escape" && following !== null) {
      choose(following);
    } else if (event.key === "/" && !typing) {
      $("port").select();
      event.preventDefault();
    } else if (event.key === " " && !typing && event.target.tagName !== "BUTTON") {
      pausing(!paused);
      event.preventDefault();
    }
  });
  $("rows").addEventListener("focusin", (event) => {
    for (const each of $("rows").querySelectorAll("button"))
      each.tabIndex = each === event.target ? 0 : -1;
  });
  $("pause").addEventListener("click", () => pausing(!paused));
  $("close").addEventListener("click", () => { if (following !== null) choose(following); });
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["state", "order", "own"]) $(id).addEventListener("change", poll);
  $("port").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(poll, 250); });
  document.addEventListener("visibilitychange", poll);
  addEventListener("resize", () => { if (latest) drawPlots(latest.time); });

  key($("window-key"), WINDOW);
  poll();
})();
