// Whose a stored state is: keys of states begin with a hash of the API key that made them.

/** What a key, or the beginning of one, says before its first dot. */
export function ownerOf(key: string): string {
  const end = key.indexOf('.');
  return end < 0 ? key : key.slice(0, end);
}
