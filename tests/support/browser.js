// What a person does in Prefect's UI, in headless Chromium; each prints what was seen as one JSON object.
//   node browser.js publish <ui> <folder for screenshots> <deployment id> <source> <volume>
//   node browser.js rechunk <ui> <folder for screenshots> <deployment id> <volume>
//   node browser.js cancel <ui> <folder for screenshots> <flow run id>
//   node browser.js report <address of the page> <folder for screenshots> <width> ...
// Needs playwright-core (NODE_PATH) and Chromium.
const { chromium } = require('playwright-core');

const [what, ui, folder, ...words] = process.argv.slice(2);
const chromiumPath = process.env.CHROMIUM || '/usr/bin/chromium';
const LONG = 300000; // milliseconds until a run has ended, on a busy machine

// Fill the form of a custom run, whose texts come in the order of the parameters, and submit it; the run.
const custom = async ({ page, ask, shot }, deployment, label, texts) => {
  await page.goto(`${ui}/deployments/deployment/${deployment}/run`);
  await page.getByText(label).waitFor();
  const fields = page.locator('textarea:visible');
  for (const [n, text] of texts.entries()) await fields.nth(n).fill(text);
  await shot('form');
  await page.getByRole('button', { name: 'Submit' }).click();
  // Submitting leads back to the deployment; its newest run is ours.
  await page.waitForURL((url) => !url.pathname.endsWith('/run'), { timeout: LONG });
  const mine = { deployments: { id: { any_: [deployment] } }, sort: 'EXPECTED_START_TIME_DESC' };
  return (await ask('flow_runs', mine))[0].id;
};

// Look at a run until it shows this state.
const seen = async ({ page, shot }, run, state) => {
  await page.goto(`${ui}/runs/flow-run/${run}`);
  await page.getByText(state, { exact: true }).first().waitFor({ timeout: LONG });
  await shot(state.toLowerCase());
  return state;
};

// Open the newest artifact of a type that a run left.
const open = async ({ page, ask }, run, type) => {
  const left = { artifacts: { flow_run_id: { any_: [run] }, key: { exists_: true } } };
  const { id } = (await ask('artifacts', left)).find((artifact) => artifact.type === type);
  await page.goto(`${ui}/artifacts/artifact/${id}`);
};

const table = async (tools, run) => {
  await open(tools, run, 'table');
  await tools.page.locator('td', { hasText: /\w/ }).first().waitFor(); // rows come empty at first
  const text = await tools.page.locator('table').innerText();
  await tools.shot('table');
  return text;
};

const DONE = {
  publish: async (tools, deployment, source, volume) => {
    const run = await custom(tools, deployment, 'The volume to write', [source, volume]);
    const state = await seen(tools, run, 'Completed');
    await open(tools, run, 'progress');
    const progress = (await tools.page.locator('.artifact-data-progress').innerText()).trim();
    await tools.shot('progress');
    const rows = await table(tools, run);
    await open(tools, run, 'image');
    const image = tools.page.locator('img[src^="data:image/png"]');
    await image.waitFor();
    const picture = await image.evaluate(({ naturalWidth, naturalHeight }) => [naturalWidth, naturalHeight]);
    await tools.shot('picture');
    return { run, state, progress, table: rows, picture };
  },

  rechunk: async (tools, deployment, volume) => {
    const run = await custom(tools, deployment, 'The volume, or any Zarr group or array', [volume]);
    const state = await seen(tools, run, 'Completed');
    return { run, state, table: await table(tools, run) };
  },

  report: async ({ page, shot }, ...widths) => {
    const asked = [];
    const said = [];
    page.on('request', (request) => asked.push(request.url()));
    page.on('dialog', (dialog) => said.push(dialog.message()));
    page.on('console', (message) => said.push(message.text()));
    page.on('pageerror', (error) => said.push(error.message));
    const seen = {};
    for (const width of widths) {
      await page.setViewportSize({ width: Number(width), height: 1000 });
      await page.goto(ui);
      await shot(width);
      seen[width] = await page.evaluate(() => ({
        title: document.title,
        wide: document.documentElement.scrollWidth,
        pictures: [...document.images].map((image) => [image.alt, image.naturalWidth, image.complete]),
        hidden: [...document.images].filter((image) => image.getBoundingClientRect().right > innerWidth).length,
        text: document.querySelector('#text-header pre')?.textContent ?? '',
        sections: [...document.querySelectorAll('section h2')].map((heading) => heading.textContent),
        scripts: document.scripts.length,
      }));
    }
    const outside = asked.filter((address) => !address.startsWith('data:') && address !== ui);
    // The page's own policy stands even against a script that got in.
    const failed = page.waitForEvent('requestfailed');
    const forbidden = await page.evaluate(() => {
      const script = document.createElement('script');
      script.textContent = 'document.title = "owned"';
      document.body.append(script);
      const image = document.createElement('img');
      image.src = 'http://127.0.0.1:9/x.png';
      document.body.append(image);
      return document.title;
    });
    const stopped = (await failed).failure().errorText;
    return { seen, forbidden, stopped, outside, said };
  },

  cancel: async (tools, run) => {
    await seen(tools, run, 'Running');
    await tools.page.getByRole('button', { name: 'Cancel' }).click();
    const dialog = tools.page.getByRole('dialog');
    await dialog.waitFor();
    await tools.shot('asked');
    await dialog.getByRole('button', { name: 'Confirm' }).click();
    await dialog.waitFor({ state: 'hidden' });
    return { run, state: await seen(tools, run, 'Cancelled') };
  },
};

(async () => {
  const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox', '--disable-gpu'] });
  const page = await browser.newPage({ viewport: { width: 1300, height: 1600 } });
  page.setDefaultTimeout(60000);
  const ask = async (kind, filter) =>
    (await page.request.post(`${ui}/api/${kind}/filter`, { data: filter })).json();
  const shot = (name) => page.screenshot({ path: `${folder}/${what}-${name}.png`, fullPage: true });
  console.log(JSON.stringify(await DONE[what]({ page, ask, shot }, ...words)));
  await browser.close();
})().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
