"""GLSL of the renderer: lit and textured surfaces, the sky, and exact depth."""

SURFACE_VERTEX = """
#version 330
uniform mat4 projection, view, model;
in vec3 position; in vec3 normal; in vec2 uv; in vec2 light_uv; in vec3 colour;
out vec2 v_uv; out vec2 v_light_uv; out vec3 v_normal; out vec3 v_colour; out vec3 v_world; out float v_depth;
void main() {
    vec4 world = model * vec4(position, 1.0);
    vec4 eye = view * world;
    v_depth = -eye.z;
    v_uv = uv; v_light_uv = light_uv; v_colour = colour; v_world = world.xyz;
    v_normal = mat3(model) * normal;
    gl_Position = projection * eye;
}
"""

# One key light with hemispherical fill; a lamp at the camera (flash, head light) falling off with distance; fog.
SURFACE_FRAGMENT = """
#version 330
uniform sampler2D image, light_map, shadow_map;
uniform mat4 shadow_from_world;
uniform float shadow_texel_m, shadow_spread, shaded;
uniform vec3 sun_direction, sun, fill_up, fill_down, fog_colour, eye_position;
uniform float fog_density, cut, baked, lamp, gloss;
in vec2 v_uv; in vec2 v_light_uv; in vec3 v_normal; in vec3 v_colour; in vec3 v_world; in float v_depth;
out vec4 fragment;
// Share of the sun that reaches this point: 4 x 4 comparisons with the depths seen from the sun.
float sunlit(vec3 n) {
    if (shaded < 0.5) return 1.0;
    float slope = 1.0 - abs(dot(n, sun_direction));
    vec3 start = v_world + (n * slope + sun_direction) * (1.0 + shadow_spread) * shadow_texel_m;
    vec3 p = (shadow_from_world * vec4(start, 1.0)).xyz * 0.5 + 0.5;
    if (any(lessThan(p, vec3(0.0))) || any(greaterThan(p, vec3(1.0)))) return 1.0;
    vec2 texel = shadow_spread / vec2(textureSize(shadow_map, 0));
    float sum = 0.0;
    for (int i = 0; i < 16; ++i)
        sum += step(p.z, texture(shadow_map, p.xy + texel * (vec2(i % 4, i / 4) - 1.5)).r);
    return sum / 16.0;
}
void main() {
    vec4 texel = texture(image, v_uv);
    if (texel.a < cut) discard;
    vec3 to_eye = normalize(eye_position - v_world);
    vec3 n = normalize(v_normal + vec3(0.0, 1e-6, 0.0));
    if (dot(n, to_eye) < 0.0) n = -n;
    float reached = sunlit(n);
    vec3 light = mix(fill_down, fill_up, 0.5 + 0.5 * n.y) + reached * sun * max(dot(n, sun_direction), 0.0);
    light = mix(light, 2.0 * texture(light_map, v_light_uv).rgb + 0.06, baked);
    light += vec3(lamp) * max(dot(n, to_eye), 0.0) / (1.0 + 0.12 * v_depth * v_depth);
    vec3 albedo = pow(texel.rgb * v_colour, vec3(2.2));
    float shine = gloss * pow(max(dot(reflect(-sun_direction, n), to_eye), 0.0), 24.0) * (1.0 - baked) * reached;
    vec3 lit = albedo * light + shine * sun;
    fragment = vec4(mix(fog_colour, lit, exp(-fog_density * v_depth)), 1.0);
}
"""

# Depth along the optical axis; negative on the back of a one-sided surface.
DEPTH_FRAGMENT = """
#version 330
uniform sampler2D image;
uniform float cut, one_sided;
in vec2 v_uv; in float v_depth;
out float fragment;
void main() {
    if (texture(image, v_uv).a < cut) discard;
    fragment = (one_sided > 0.5 && !gl_FrontFacing) ? -v_depth : v_depth;
}
"""

SKY_VERTEX = """
#version 330
uniform mat4 ray_from_clip;
in vec2 corner;
out vec3 v_ray;
void main() {
    v_ray = (ray_from_clip * vec4(corner, 1.0, 1.0)).xyz;
    gl_Position = vec4(corner, 1.0, 1.0);
}
"""

# A gradient from the horizon to the zenith with clouds of value noise.
SKY_FRAGMENT = """
#version 330
uniform vec3 horizon, zenith, cloud_colour, sun_direction;
uniform float cloud_cover, cloud_offset;
in vec3 v_ray;
out vec4 fragment;
float hash(vec2 p) { return fract(sin(dot(p, vec2(127.1, 311.7))) * 43758.5453); }
float noise(vec2 p) {
    vec2 i = floor(p), f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    return mix(mix(hash(i), hash(i + vec2(1, 0)), f.x), mix(hash(i + vec2(0, 1)), hash(i + vec2(1, 1)), f.x), f.y);
}
float fbm(vec2 p) {
    float sum = 0.0, weight = 0.5;
    for (int k = 0; k < 5; ++k) { sum += weight * noise(p); p = 2.03 * p + 17.0; weight *= 0.5; }
    return sum;
}
void main() {
    vec3 ray = normalize(v_ray);
    float up = max(ray.y, 0.0);
    vec3 sky = mix(horizon, zenith, pow(up, 0.6));
    vec2 plane = ray.xz / (up + 0.12) + cloud_offset;
    float cloud = smoothstep(1.0 - cloud_cover, 1.25 - cloud_cover, fbm(1.7 * plane)) * smoothstep(0.0, 0.15, up);
    sky = mix(sky, cloud_colour, cloud);
    sky += vec3(1.2, 1.1, 0.9) * pow(max(dot(ray, sun_direction), 0.0), 300.0);
    fragment = vec4(sky, 1.0);
}
"""
