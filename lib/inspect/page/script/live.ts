// The script of the page that asks a server for what it shows: the one around it says of which session.
export const liveScript = String.raw`
let session = null; // { id, ask }, ask(method, path, body, signal) as the page around this one asks the server.
let asking = null;
let places = [];

function say(text) {
  $('state').textContent = text;
  $('state').hidden = text === '';
  $('shown-all').hidden = text !== '' && memory === null;
}

/** Asks for the memory of the lists, or for the first that there is. */
async function load(place) {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  $('shown-all').setAttribute('aria-busy', 'true');
  if (memory === null) say('Reading \u2026');
  const which = place ? { layer: place.layer, matrix: place.matrix, head: place.head } : {};
  try {
    const body = { page: true, survey: true, tokens: Number($('window').value), ...which };
    const found = await (await session.ask('POST', '/v1/sessions/' + session.id + '/inspect', body, signal)).json();
    if (signal.aborted) return;
    page = { tokens: found.tokens, places: found.places, memories: [found.page] };
    places = found.places.flatMap((one) => Array.from({ length: one.heads }, (_, i) => ({ ...one, head: i + 1 })));
    if (!place) setLists(places, found.memory);
    $('read').textContent = found.first > 0 ? 'the last ' + found.tokens.length + ' of ' + found.length + ' tokens' : found.length + ' tokens';
    say('');
    drawText();
    choose(open(found.page));
    showHeads((wanted, go) => {
      if (!go) return true;
      setLists(places, wanted);
      load(wanted);
    });
  } catch (error) {
    if (!signal.aborted) forget(error.message);
  } finally {
    if (!signal.aborted) $('shown-all').removeAttribute('aria-busy');
  }
}

function forget(text) {
  memory = null;
  say(text);
}

/** For the page around this one: shows a session as it is now; null for none. */
window.inspect = (id, ask) => {
  if (id === null) {
    asking?.abort();
    session = null;
    return forget('Nothing has been read yet.');
  }
  session = { id, ask };
  return load(memory ? placeInLists(places, 'head') : undefined);
};
for (const id of ['layer', 'name', 'head']) $(id).addEventListener('change', () => load(placeInLists(places, id)));
$('window').addEventListener('change', () => session && load(memory ? placeInLists(places, 'head') : undefined));
listen();
say('Nothing has been read yet.');
`;
