/** What all rows of a run share. */
export type Bench = {
  /** A folder for volumes, on the file system of the cache and gone after the run. */
  readonly volumes: string
  /** Of the volumes of most rows. */
  readonly volumeBytes: number
}
