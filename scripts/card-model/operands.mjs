// Operands of machine instructions as nvdisasm writes them.

/** The registers that read as zero, and the predicates that are always true. */
export const RZ = 255;
export const PT = 7;

const REGISTER = /^(-|~|!)?(\|)?(U?)(R|P)(\d+|Z|T)\|?((?:\.\w+)*)$/;
const CONSTANT = /^(-|~)?(\|)?c\[(0x[0-9a-f]+)\]\[(.*)\]\|?((?:\.\w+)*)$/;
const NUMBER = /^-?(0x[0-9a-f]+|\d+(\.\d+)?(e[+-]?\d+)?)$/i;
const LABEL = /^`\((.*)\)$/;

/** { kind: 'R' | 'UR', n, sign, absolute } and { kind: 'P' | 'UP', n, not }. */
function parseRegister([, sign, absolute, uniform, kind, number, suffix]) {
  const special = number === 'Z' || number === 'T';
  const zero = uniform ? 63 : RZ;
  const n = special ? (kind === 'R' ? zero : PT) : Number(number);
  const register = { kind: uniform + kind, n, suffix };
  if (kind === 'P') return { ...register, not: sign === '!' };
  return { ...register, sign, absolute: absolute !== undefined };
}

/** What stands in an address, terms with a plus between them: { R, UR, offset }, R and UR numbers of registers. */
export function parseAddress(text) {
  const address = { offset: 0 };
  for (const term of text.split('+')) {
    const register = /^(U?R)(\d+|Z)((?:\.\w+)*)$/.exec(term);
    if (!register) address.offset += Number(term.replace(/^-(0x.*)/, '$1')) * (term.startsWith('-') ? -1 : 1);
    else if (register[2] !== 'Z') {
      address[register[1]] = Number(register[2]);
      if (register[1] === 'R') address.wide = register[3].includes('.64');
    } else address.wide ??= register[3].includes('.64');
  }
  return address;
}

const FLOATS = { '+INF': 0x7f800000, '-INF': 0xff800000, '+QNAN': 0x7fffffff, '-QNAN': 0xffffffff };

function parseNumber(text) {
  if (/0x/.test(text)) return text.startsWith('-') ? -Number(text.slice(1)) | 0 : Number(text) | 0;
  if (/[.e]/.test(text)) return new Int32Array(new Float32Array([Number(text)]).buffer)[0];
  return Number(text) | 0;
}

/**
 * An operand: a register, { kind: 'number', value } with the bits of a float, { kind: 'constant', bank, address },
 * { kind: 'memory', address, description }, { kind: 'label', name }, or { kind: 'special', name } for what is none of these.
 */
export function parseOperand(given) {
  const text = given.replace(/\.reuse\b/g, '').trim();
  let match;
  if ((match = REGISTER.exec(text))) return parseRegister(match);
  if ((match = CONSTANT.exec(text))) {
    const [, sign, absolute, bank, address] = match;
    return { kind: 'constant', bank: Number(bank), address: parseAddress(address), sign, absolute: absolute === '|' };
  }
  if (text in FLOATS) return { kind: 'number', value: FLOATS[text] | 0 };
  if (NUMBER.test(text)) return { kind: 'number', value: parseNumber(text) };
  if ((match = LABEL.exec(text))) return { kind: 'label', name: match[1] };
  if ((match = /^(?:(desc)\[[^\]]*\])?\[(.*)\]$/.exec(text)))
    return { kind: 'memory', address: parseAddress(match[2]) };
  return { kind: 'special', name: text };
}
