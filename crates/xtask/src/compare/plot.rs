//! The picture of a series.

use std::path::Path;

use plotters::prelude::*;

use super::Result;
use super::series::Growth;

const COLOURS: [RGBColor; 3] = [RGBColor(0x1F, 0x77, 0xB4), RGBColor(0xD6, 0x5F, 0x0E), RGBColor(0x55, 0x55, 0x55)];

/// Draws the cost over the amount, both by doublings, as SVG: what grows as fast as the amount rises by 45 degrees where the scales are
/// alike.
pub(crate) fn draw(growth: &Growth, path: &Path) -> Result<()> {
    let lines: Vec<_> = growth.contenders().into_iter().map(|who| (who, growth.costs(who))).collect();
    let all = || lines.iter().flat_map(|(_, points)| points);
    let (mut left, mut right, mut low, mut high) = (f64::MAX, f64::MIN, f64::MAX, f64::MIN);
    for &(amount, cost) in all().filter(|(_, cost)| *cost > 0.0) {
        (left, right) = (left.min(amount), right.max(amount));
        (low, high) = (low.min(cost), high.max(cost));
    }
    if left >= right {
        return Ok(());
    }
    let area = SVGBackend::new(path, (720, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(growth.series.title(), ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d((left..right).log_scale().base(2.0), (low / 1.5..high * 1.5).log_scale().base(2.0))?;
    chart
        .configure_mesh()
        .light_line_style(BLACK.mix(0.04))
        .x_desc(growth.series.axis())
        .y_desc(growth.series.cost().heading())
        .x_label_formatter(&|amount| format!("{amount:.0}"))
        .y_label_formatter(&|cost| super::report::number(*cost))
        .label_style(("sans-serif", 13))
        .draw()?;
    for ((who, points), colour) in lines.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(who.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.2))
        .label_font(("sans-serif", 13))
        .draw()?;
    area.present()?;
    Ok(())
}
