import process from 'node:process'

/** Takes the time of the steps of a file's tests, and prints them as a table at the end. */
export class Stopwatch {
  readonly #title: string
  readonly #steps: { readonly step: string; readonly seconds: number }[] = []

  constructor(title: string) {
    this.#title = title
  }

  async time<Result>(step: string, work: () => Promise<Result>): Promise<Result> {
    const began = performance.now()
    const result = await work()
    this.#steps.push({ step, seconds: (performance.now() - began) / 1000 })
    return result
  }

  print(): void {
    const width = Math.max(...this.#steps.map(({ step }) => step.length))
    const lines = this.#steps.map(
      ({ step, seconds }) => `  ${step.padEnd(width)} ${seconds.toFixed(2).padStart(8)} s`,
    )
    process.stdout.write(`${this.#title}\n${lines.join('\n')}\n`)
  }
}
