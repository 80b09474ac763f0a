// Without script the whole gallery is shown and the filter stays hidden.
for (const gallery of document.querySelectorAll(".gallery")) {
  const filter = gallery.querySelector(".filter"), count = gallery.querySelector("output");
  const items = [...gallery.querySelectorAll("[data-class]")];
  const apply = () => {
    const wanted = filter.querySelector("select").value, verdict = filter.querySelector("input:checked").value;
    for (const item of items)
      item.hidden = (wanted && item.dataset.class !== wanted) || (verdict && !item.classList.contains(verdict));
    count.textContent = items.filter(item => !item.hidden).length + " of " + items.length + " pictures";
  };
  filter.hidden = false;
  filter.addEventListener("change", apply);
  apply();
}
