declare module 'seek-bzip' {
  type ByteSource = {
    readonly readByte: () => number
    readonly read: (into: Uint8Array, at: number, count: number) => number
    readonly eof: () => boolean
  }
  type ByteSink = { readonly writeByte: (byte: number) => void }

  const bunzip: {
    /** Throws TypeError where the input is no bzip2 stream (or, with `isMultiStream`, several). */
    readonly decode: (input: ByteSource, output: ByteSink, isMultiStream: boolean) => void
  }
  export = bunzip
}
