// Sends the form's body to /predict and shows the answer.
"use strict";
const byId = (id) => document.getElementById(id);
byId("try").addEventListener("submit", async (event) => {
  event.preventDefault();
  const headers = {"Content-Type": "application/json"};
  if (byId("token")?.value) headers.Authorization = `Bearer ${byId("token").value}`;
  const answer = byId("answer");
  answer.hidden = false;
  try {
    const path = byId("explain").checked ? "predict?explain=1" : "predict";
    const response = await fetch(path, {method: "POST", headers, body: byId("body").value});
    const text = await response.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch {}
    answer.textContent = `${response.status} ${response.statusText}\n${shown}`;
  } catch (error) {
    answer.textContent = `The service did not answer: ${error.message}`;
  }
});
