// Follow the events of your buckets over HTTP, with fetch alone (Node 18, Deno, Bun, a browser).
//
// EVENTS_URL=http://127.0.0.1:9000 EVENTS_USER=alice EVENTS_PASSWORD=… \
//     node examples/follow_events.mjs "from=start&operation=PutObject"

const AGAIN_MS = 2000;
const SILENCE_MS = 60000; // A heartbeat comes every 15 seconds.

/** Yield {id, event} for ever, each event once and in order, whatever happens to the line. */
export async function* events(endpoint, user, password, query = "", lastId = "") {
  const authorization = "Basic " + btoa(unescape(encodeURIComponent(`${user}:${password}`)));
  for (;;) {
    try {
      const headers = { authorization, accept: "text/event-stream" };
      if (lastId) headers["last-event-id"] = lastId;
      const abort = new AbortController();
      const answer = await fetch(`${endpoint}/events?${query}`, { headers, signal: abort.signal });
      if (answer.status < 500 && !answer.ok) throw new Refused(await answer.text());
      if (answer.ok) {
        for await (const { id, data } of blocks(answer.body, abort)) {
          lastId = id;
          if (data) yield { id, event: JSON.parse(data) };
        }
      }
    } catch (error) {
      if (error instanceof Refused) throw error; // The question is wrong: asking again is no use.
    }
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

class Refused extends Error {}

/** Yield {id, data} of each whole block; data is undefined in heartbeats. */
async function* blocks(body, abort) {
  const decoder = new TextDecoder();
  let text = "";
  let timer;
  const watch = () => {
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(), SILENCE_MS);
  };
  try {
    watch();
    for await (const chunk of body) {
      watch();
      text += decoder.decode(chunk, { stream: true });
      const whole = text.split("\n\n");
      text = whole.pop(); // The last one may not be whole yet.
      for (const block of whole) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
        if (fields.id) yield { id: fields.id, data: fields.data };
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

if (globalThis.process?.argv[1]?.endsWith("follow_events.mjs")) {
  const { EVENTS_URL, EVENTS_USER, EVENTS_PASSWORD } = process.env;
  const query = process.argv[2] ?? "";
  for await (const { event } of events(EVENTS_URL, EVENTS_USER, EVENTS_PASSWORD, query)) {
    const { operation, bucket, key = "" } = event.data;
    console.log(event.time, operation, `${bucket}/${key}`);
  }
}
