// An agent of Nexus in Node, with nothing but its built-in fetch.
//   NEXUS=http://127.0.0.1:8000/api TOKEN=nxs_… node node_agent.mjs upper
// It ends in good order on SIGTERM: what it has at hand is stored first.

const [agent = "upper"] = process.argv.slice(2);
const base = `${process.env.NEXUS}/external-agents/${agent}`;
const visibility = Number(process.env.VISIBILITY ?? 30); // seconds until others may have a message
let stopping = false;
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => (stopping = true));
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// A repeat of complete gets the same answer, so whatever fails on the way may be sent again.
async function post(path, body, tries = 6) {
  for (let pause = 0.2; ; pause *= 2) {
    let response;
    try {
      response = await fetch(base + path, {
        method: "POST",
        headers: { Authorization: `Bearer ${process.env.TOKEN}`, "Content-Type": "application/json" },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(45_000),
      });
    } catch (error) {
      if (--tries <= 0) throw error;
    }
    if (response?.ok) return response.status === 204 ? null : response.json();
    if (response && !(response.status === 429 || response.status >= 500) || --tries <= 0)
      throw Object.assign(new Error(await response.text()), { status: response.status });
    await sleep(pause);
  }
}

// The handler: what it returns is sent to the sender. Throw an error with terminal = true to give a message up.
async function handle(message, state) {
  state.count = (state.count ?? 0) + 1;
  return { text: String(message.data.text).toUpperCase(), count: state.count };
}

async function settle(leased) {
  const path = `/deliveries/${leased.delivery}`;
  const token = leased.token;
  const beat = setInterval(() => post(`${path}/renew`, { token, visibility }, 1).catch(() => {}), visibility * 333);
  try {
    const data = await handle(leased.message, leased.state);
    await post(`${path}/complete`, { token, replies: [{ data }], state: leased.state });
  } catch (error) {
    if (error.status === 409) return; // the lease was lost: another program has the message
    await post(`${path}/fail`, { token, error: String(error).slice(0, 1000), terminal: Boolean(error.terminal) })
      .catch((problem) => console.error(problem.message)); // the lease expires, and the message comes again
  } finally {
    clearInterval(beat);
  }
}

await post("", { description: "Answers in capitals, from Node." });
console.log(`${agent} is ready.`);
while (!stopping) {
  try {
    const { messages } = await post("/lease", { limit: 10, wait: 10, visibility }, 1);
    await Promise.all(messages.map(settle));
  } catch (error) {
    if (error.status && error.status < 500 && error.status !== 429) throw error; // 401, 403: nothing will help
    console.error(error.message);
    await sleep(1);
  }
}
