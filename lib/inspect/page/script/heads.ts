// All heads of a page at a glance.
export const headsScript = String.raw`
/** Shows them; pick(place, go) says whether there is one to look at, and looks at it where go is set. */
function showHeads(pick) {
  const places = page.places.filter(({ holds }) => holds);
  $('survey').hidden = places.length === 0;
  const most = Math.max(1, ...places.flatMap(({ holds }) => holds));
  $('heads').replaceChildren(...places.map(({ layer, matrix, holds }) => {
    const row = element('tr');
    const alone = places.every((place) => place.matrix === matrix);
    row.append(element('th', { scope: 'row' }, 'layer ' + layer + (alone ? '' : ', ' + matrix)));
    holds.forEach((x, i) => {
      const place = { layer, matrix, head: i + 1 };
      const own = memory.layer === layer && memory.matrix === matrix && memory.head === i + 1;
      const what = 'layer ' + layer + ', ' + matrix + ', head ' + (i + 1) + ': holds ' + number(x, 2) + ' tokens';
      const cell = element('button', { type: 'button', 'aria-pressed': String(own), 'aria-label': what, title: what }, number(x, 2));
      cell.style.setProperty('--left', (0.7 * Math.log1p(x) / Math.log1p(most)).toFixed(3));
      cell.disabled = !pick(place, false);
      cell.addEventListener('click', () => pick(place, true));
      const box = element('td');
      box.append(cell);
      row.append(box);
    });
    return row;
  }));
}

/** Sets the three lists to a place. */
function setLists(places, { layer, matrix, head }) {
  placeInLists(places);
  for (const [id, value] of Object.entries({ layer, name: matrix, head })) {
    $(id).value = String(value);
    placeInLists(places, id);
  }
}
`;
