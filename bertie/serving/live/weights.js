// The stored weights: deflated bytes in base64. A row of a matrix is whole numbers and one scale; vectors are floats.

function fromBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = characters.charCodeAt(at);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// Return the tensors of one checkpoint by name. Wide numbers have two bytes: all high ones,
// then all low ones; `wide` says whether those of queries, keys, values and positions are, and those of other matrices.
export async function unpack({ bytes, wide }, shapes) {
  const isWide = (name) => wide[/attention\.qkv|position/.test(name) ? 0 : 1];
  const buffer = await inflate(fromBase64(bytes));
  let place = 0;
  const take = (Kind, count) => {
    const size = count * Kind.BYTES_PER_ELEMENT;
    const part = new Kind(buffer.slice(place, place + size));
    place += size;
    return part;
  };
  const tensors = {};
  for (const [name, ...shape] of shapes) {
    if (shape.length === 1) {
      tensors[name] = take(Float32Array, shape[0]);
      continue;
    }
    const [rows, columns] = shape;
    const scales = take(Float32Array, rows);
    const high = take(Int8Array, rows * columns);
    const low = isWide(name) ? take(Uint8Array, rows * columns) : null;
    const values = new Float32Array(rows * columns);
    for (let row = 0, at = 0; row < rows; row += 1) {
      for (const end = at + columns; at < end; at += 1) values[at] = (low ? high[at] * 256 + low[at] : high[at]) * scales[row];
    }
    tensors[name] = { rows, columns, values };
  }
  return tensors;
}
