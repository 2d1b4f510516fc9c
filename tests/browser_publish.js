// Fill the form of a custom run of `publish` in Prefect's UI, wait for the run to complete, and look at what it shows.
// node browser_publish.js <ui> <deployment id> <source> <volume> <folder for screenshots>
// Prints one JSON object: state, progress, table, picture. Needs playwright-core (NODE_PATH) and Chromium.
const { chromium } = require('playwright-core');

const [ui, deployment, source, volume, folder] = process.argv.slice(2);
const chromiumPath = process.env.CHROMIUM || '/usr/bin/chromium';

(async () => {
  const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox', '--disable-gpu'] });
  const page = await browser.newPage({ viewport: { width: 1300, height: 1600 } });
  page.setDefaultTimeout(60000);
  const shot = (name) => page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });

  await page.goto(`${ui}/deployments/deployment/${deployment}/run`);
  await page.getByText('Where the volume goes').waitFor();
  // Run name first, then the fields in the order of the parameters.
  const texts = page.locator('textarea:visible');
  await texts.nth(0).fill(source);
  await texts.nth(1).fill(volume);
  await shot('1_form');
  await page.getByRole('button', { name: 'Submit' }).click();

  // Submitting leads back to the deployment; its newest run is ours.
  await page.waitForURL((url) => !url.pathname.endsWith('/run'));
  const ask = async (what, filter) => {
    const answer = await page.request.post(`${ui}/api/${what}/filter`, { data: filter });
    return answer.json();
  };
  const runs = await ask('flow_runs', { deployments: { id: { any_: [deployment] } }, sort: 'EXPECTED_START_TIME_DESC' });
  await page.goto(`${ui}/runs/flow-run/${runs[0].id}`);
  const completed = page.getByText('Completed', { exact: true }).first();
  await completed.waitFor({ timeout: 120000 });
  await shot('2_run');
  const state = await completed.innerText();

  const artifacts = await ask('artifacts', {
    artifacts: { flow_run_id: { any_: [runs[0].id] }, key: { exists_: true } },
  });
  const open = async (type) => {
    const { id } = artifacts.find((artifact) => artifact.type === type);
    await page.goto(`${ui}/artifacts/artifact/${id}`);
  };

  await open('progress');
  const progress = (await page.locator('.artifact-data-progress').innerText()).trim();
  await shot('3_progress');
  await open('table');
  const table = await page.locator('table').innerText();
  await shot('4_table');
  await open('image');
  const image = page.locator('img[src^="data:image/png"]');
  await image.waitFor();
  const picture = await image.evaluate((element) => ({ width: element.naturalWidth, height: element.naturalHeight }));
  await shot('5_picture');

  console.log(JSON.stringify({ state, progress, table, picture }));
  await browser.close();
})().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
